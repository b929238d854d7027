// The activations of a product phase: into shared memory as bf16 rows, through a norm where there
// is one.
#pragma once

#include "backends/cuda/device/rotate.cuh"
#include "backends/cuda/persistent_ring.cuh"

namespace tendon::cuda::persistent {

// What other CTAs of this kernel wrote is read past the L1.
__device__ inline float load_fresh(const void* p, int64_t i, DType t) {
  if (t == DType::bf16) {
    const unsigned short bits = __ldcg(static_cast<const unsigned short*>(p) + i);
    return __uint_as_float(static_cast<uint32_t>(bits) << 16);
  }
  if (t == DType::f16) return __half2float(__ldcg(static_cast<const __half*>(p) + i));
  return __ldcg(static_cast<const float*>(p) + i);
}

// The table row of operand row r; `now` is the current iteration, whose counter may lag behind.
__device__ inline const float* table_row(const device::TableView& t, int r,
                                         const int32_t* iteration, int now) {
  if (!t.index) return t.data;
  int row = now;
  if (t.index != iteration) row = __ldcg(t.index + (t.rows == 1 ? r : r / t.rows));
  return t.data + int64_t{row} * t.stride;
}

struct Where {
  int cta, ctas, rank, cluster_size, cluster, clusters;
  const int32_t* iteration;
  int now;
};

// What a norm leaves to do once mean and deviation are known: x * factor + addend. Columns 8 v .. 8
// v + 3 lie in the first half of each array, 8 v + 4 .. 8 v + 7 in the second: no two lanes meet in
// a bank.
struct Constants {
  float4* factor;
  float4* addend;
};
constexpr int kHalf = kMostInputs / 8;

__device__ inline float4 four(const float* p, int c, int end, bool wide, float other) {
  if (!p) return make_float4(other, other, other, other);
  if (wide) return *reinterpret_cast<const float4*>(p + c);
  return make_float4(c < end ? p[c] : 0.0f, c + 1 < end ? p[c + 1] : 0.0f,
                     c + 2 < end ? p[c + 2] : 0.0f, c + 3 < end ? p[c + 3] : 0.0f);
}

// Functions below copy the phase: it lies in shared memory, and its fields would be read again
// after every store.
__device__ inline void stage_constants(const ProductPhase& phase, const Where& w,
                                       const Constants& to) {
  const ProductPhase p = phase;
  const int c = threadIdx.x * 4;
  if (p.norm == NormKind::none || c >= p.blocks * kBlock) return;
  const bool own = p.rows_differ, wide = p.wide_tables && c + 4 <= p.k;
  const float* scale = p.scale.data && !own ? table_row(p.scale, 0, w.iteration, w.now) : nullptr;
  const float* shift = p.shift.data && !own ? table_row(p.shift, 0, w.iteration, w.now) : nullptr;
  const float4 weight = four(p.norm_weight, c, p.k, wide, 1.0f - p.offset);
  const float4 bias = four(p.norm_bias, c, p.k, wide, 0.0f);
  const float4 s = four(scale, c, p.k, wide, 0.0f), b = four(shift, c, p.k, wide, 0.0f);
  float4 f = make_float4((p.offset + weight.x) * (1 + s.x), (p.offset + weight.y) * (1 + s.y),
                         (p.offset + weight.z) * (1 + s.z), (p.offset + weight.w) * (1 + s.w));
  float4 a = make_float4(bias.x * (1 + s.x) + b.x, bias.y * (1 + s.y) + b.y,
                         bias.z * (1 + s.z) + b.z, bias.w * (1 + s.w) + b.w);
  if (c >= p.k) f = a = make_float4(0, 0, 0, 0);
  if (c + 1 >= p.k) f.y = a.y = 0;
  if (c + 2 >= p.k) f.z = a.z = 0;
  if (c + 3 >= p.k) f.w = a.w = 0;
  const int at = c / 4 % 2 * kHalf + c / 8;
  to.factor[at] = f;
  to.addend[at] = a;
}

__device__ inline uint4 pack8(const float (&v)[8]) {
  return make_uint4(device::pack_bf16(v[0], v[1]), device::pack_bf16(v[2], v[3]),
                    device::pack_bf16(v[4], v[5]), device::pack_bf16(v[6], v[7]));
}

// Any alignment, and rows with their own scale and shift; a warp a row, an element a lane.
__device__ __noinline__ void load_rows_singly(const ProductPhase& phase, const Where& w, int first,
                                              int columns, int pitch, __nv_bfloat16* to) {
  const ProductPhase p = phase;
  const int lane = threadIdx.x % 32;
  for (int r = threadIdx.x / 32; r < p.m; r += kWarps) {
    const int64_t at = p.x.at(r) + first;
    const int last = min(columns, p.k - first);
    float mean = 0, deviation = 1;
    if (p.norm != NormKind::none) {
      float sum = 0, squares = 0;
      for (int c = lane; c < last; c += 32) sum += load_fresh(p.x.data, at + c, p.x.dtype);
      if (p.norm == NormKind::layer) mean = device::warp_sum(sum) / static_cast<float>(p.k);
      for (int c = lane; c < last; c += 32) {
        const float v = load_fresh(p.x.data, at + c, p.x.dtype) - mean;
        squares += v * v;
      }
      deviation = rsqrtf(device::warp_sum(squares) / static_cast<float>(p.k) + p.eps);
    }
    const float* scale = p.scale.data ? table_row(p.scale, r, w.iteration, w.now) : nullptr;
    const float* shift = p.shift.data ? table_row(p.shift, r, w.iteration, w.now) : nullptr;
#pragma unroll 4
    for (int c = lane; c < columns; c += 32) {
      float v = c < last ? (load_fresh(p.x.data, at + c, p.x.dtype) - mean) * deviation : 0.0f;
      if (c < last && p.norm != NormKind::none) {
        if (p.norm_weight) v *= p.offset + p.norm_weight[c];
        if (p.norm_bias) v += p.norm_bias[c];
        if (scale) v *= 1.0f + scale[c];
        if (shift) v += shift[c];
      }
      to[r * pitch + c] = __float2bfloat16(v);
    }
  }
}

// Mean (layer norm) and reciprocal deviation of a row that a warp holds.
__device__ inline float2 moments(const ProductPhase& p, const uint4 (&row)[4]) {
  float v[8], sum = 0, squares = 0;
  const float inverse = 1.0f / static_cast<float>(p.k);
  if (p.norm == NormKind::layer) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      device::unpack_words(row[j], DType::bf16, v);
#pragma unroll
      for (int e = 0; e < 8; ++e) sum += v[e];
    }
    sum = device::warp_sum(sum) * inverse;
  }
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const int left = p.k - (j * 32 + static_cast<int>(threadIdx.x) % 32) * 8;
    device::unpack_words(row[j], DType::bf16, v);
#pragma unroll
    for (int e = 0; e < 8; ++e) squares += e < left ? (v[e] - sum) * (v[e] - sum) : 0.0f;
  }
  return make_float2(sum, rsqrtf(device::warp_sum(squares) * inverse + p.eps));
}

// Columns [first, first + columns) of x as bf16 rows of `pitch` elements; zeros past k.
template <int BATCH>
__device__ void load_rows(const ProductPhase& phase, int first, int columns, int pitch,
                          const Constants& constants, __nv_bfloat16* to) {
  const ProductPhase p = phase;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll 1
  for (int r0 = warp; r0 < p.m; r0 += kWarps * BATCH) {
    uint4 held[BATCH][4];
    float2 moment[BATCH];
#pragma unroll
    for (int i = 0; i < BATCH; ++i) {
      const int r = r0 + kWarps * i;
      const int64_t row = r < p.m ? p.x.at(r) + first : 0;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int c = (j * 32 + lane) * 8;
        held[i][j] = make_uint4(0, 0, 0, 0);
        if (r < p.m && c < columns && first + c < p.k) {
          held[i][j] = __ldcg(reinterpret_cast<const uint4*>(
              static_cast<const __nv_bfloat16*>(p.x.data) + row + c));
        }
      }
    }
    if (p.norm != NormKind::none) {
#pragma unroll
      for (int i = 0; i < BATCH; ++i) moment[i] = moments(p, held[i]);
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int c = (j * 32 + lane) * 8, at = c / 8;
      if (c >= columns) continue;
      float4 f[2], a[2];
      if (p.norm != NormKind::none) {
        f[0] = constants.factor[at], f[1] = constants.factor[kHalf + at];
        a[0] = constants.addend[at], a[1] = constants.addend[kHalf + at];
      }
#pragma unroll
      for (int i = 0; i < BATCH; ++i) {
        const int r = r0 + kWarps * i;
        if (r >= p.m) continue;
        uint4 out = held[i][j];
        if (p.norm != NormKind::none) {
          float v[8];
          device::unpack_words(out, DType::bf16, v);
          const float mean = moment[i].x, d = moment[i].y;
          v[0] = (v[0] - mean) * d * f[0].x + a[0].x, v[1] = (v[1] - mean) * d * f[0].y + a[0].y;
          v[2] = (v[2] - mean) * d * f[0].z + a[0].z, v[3] = (v[3] - mean) * d * f[0].w + a[0].w;
          v[4] = (v[4] - mean) * d * f[1].x + a[1].x, v[5] = (v[5] - mean) * d * f[1].y + a[1].y;
          v[6] = (v[6] - mean) * d * f[1].z + a[1].z, v[7] = (v[7] - mean) * d * f[1].w + a[1].w;
          out = pack8(v);
        }
        *reinterpret_cast<uint4*>(to + r * pitch + c) = out;
      }
    }
  }
}

}  // namespace tendon::cuda::persistent
