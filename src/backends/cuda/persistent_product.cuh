// The product phase: activations into shared memory (through a norm where there is one), weights from
// the warp's ring, sums over warps (and over the cluster where it shares the inputs) in a fixed order.
#pragma once

#include <cooperative_groups.h>

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
__device__ inline const float* table_row(const device::TableView& t, int r, const int32_t* iteration,
                                         int now) {
  if (!t.index) return t.data;
  const int row = t.index == iteration ? now : __ldcg(t.index + r / t.rows);
  return t.data + int64_t{row} * t.stride;
}

struct Where {
  int cta, ctas, rank, cluster_size, cluster, clusters;
  const int32_t* iteration;
  int now;
};

// x * factor + addend is what the norm leaves to do once mean and deviation are known.
__device__ inline void stage_constants(const ProductPhase& p, const Where& w, float* factor,
                                       float* addend) {
  if (p.norm == NormKind::none) return;
  const float* scale = p.scale.data ? table_row(p.scale, 0, w.iteration, w.now) : nullptr;
  const float* shift = p.shift.data ? table_row(p.shift, 0, w.iteration, w.now) : nullptr;
  for (int c = threadIdx.x; c < p.blocks * kBlock; c += kThreads) {
    float f = 0, a = 0;
    if (c < p.k) {
      f = p.norm_weight ? p.offset + p.norm_weight[c] : 1.0f;
      a = p.norm_bias ? p.norm_bias[c] : 0.0f;
      if (!p.rows_differ) {
        const float s = scale ? 1.0f + scale[c] : 1.0f;
        f *= s;
        a = a * s + (shift ? shift[c] : 0.0f);
      }
    }
    factor[c] = f;
    addend[c] = a;
  }
}

// Eight normed values of row r from column c on.
__device__ inline void finish_norm(const ProductPhase& p, const Where& w, int r, int c, float mean,
                                   float deviation, const float* factor, const float* addend,
                                   float (&v)[8]) {
#pragma unroll
  for (int j = 0; j < 8; ++j) v[j] = (v[j] - mean) * deviation * factor[c + j] + addend[c + j];
  if (!p.rows_differ) return;
  const float* scale = p.scale.data ? table_row(p.scale, r, w.iteration, w.now) : nullptr;
  const float* shift = p.shift.data ? table_row(p.shift, r, w.iteration, w.now) : nullptr;
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    if (c + j >= p.k) continue;
    if (scale) v[j] *= 1.0f + scale[c + j];
    if (shift) v[j] += shift[c + j];
  }
}

// Columns [first, first + columns) of x as bf16 rows of `pitch` elements; zeros past k.
template <int BATCH>
__device__ void load_rows(const ProductPhase& p, const Where& w, int first, int columns, int pitch,
                          const float* factor, const float* addend, __nv_bfloat16* to) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int r0 = warp; r0 < p.m; r0 += kWarps * BATCH) {
    float v[8];
    uint4 held[BATCH][4];
#pragma unroll
    for (int i = 0; i < BATCH; ++i) {
      const int r = r0 + kWarps * i;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int c = (j * 32 + lane) * 8;
        held[i][j] = make_uint4(0, 0, 0, 0);
        if (r >= p.m || c >= columns) continue;
        const int64_t at = p.x.offset(r) + first + c;
        if (p.vectors && first + c + 8 <= p.k) {
          held[i][j] = __ldcg(reinterpret_cast<const uint4*>(
              static_cast<const __nv_bfloat16*>(p.x.data) + at));
        } else {
#pragma unroll
          for (int e = 0; e < 8; ++e) {
            v[e] = first + c + e < p.k ? load_fresh(p.x.data, at + e, p.x.dtype) : 0.0f;
          }
          held[i][j] = make_uint4(device::pack_bf16(v[0], v[1]), device::pack_bf16(v[2], v[3]),
                                  device::pack_bf16(v[4], v[5]), device::pack_bf16(v[6], v[7]));
        }
      }
    }
#pragma unroll
    for (int i = 0; i < BATCH; ++i) {
      const int r = r0 + kWarps * i;
      if (r >= p.m) continue;
      float mean = 0, deviation = 1;
      if (p.norm != NormKind::none) {
        float sum = 0, squares = 0;
        if (p.norm == NormKind::layer) {
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            device::unpack_words(held[i][j], DType::bf16, v);
#pragma unroll
            for (int e = 0; e < 8; ++e) sum += v[e];
          }
          mean = device::warp_sum(sum) / static_cast<float>(p.k);
        }
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const int c = (j * 32 + lane) * 8;
          device::unpack_words(held[i][j], DType::bf16, v);
#pragma unroll
          for (int e = 0; e < 8; ++e) squares += c + e < p.k ? (v[e] - mean) * (v[e] - mean) : 0.0f;
        }
        deviation = rsqrtf(device::warp_sum(squares) / static_cast<float>(p.k) + p.eps);
      }
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int c = (j * 32 + lane) * 8;
        if (c >= columns) continue;
        uint4 out = held[i][j];
        if (p.norm != NormKind::none) {
          device::unpack_words(out, DType::bf16, v);
          finish_norm(p, w, r, c, mean, deviation, factor, addend, v);
          out = make_uint4(device::pack_bf16(v[0], v[1]), device::pack_bf16(v[2], v[3]),
                           device::pack_bf16(v[4], v[5]), device::pack_bf16(v[6], v[7]));
        }
        *reinterpret_cast<uint4*>(to + r * pitch + c) = out;
      }
    }
  }
}

__device__ inline float finish_column(const ProductPhase& p, const Where& w, int m, int column,
                                      float v) {
  if (p.bias) v += p.bias[column];
  v = device::curve(p.curve, v);
  if (p.gate.data) v *= table_row(p.gate, m, w.iteration, w.now)[column];
  if (p.residual.data) {
    v += load_fresh(p.residual.data, p.residual.offset(m) + column, p.residual.dtype);
  }
  return v;
}

__device__ inline void store_head(const ProductPhase& p, int m, int column, float v) {
  int at = column;
  const device::RowsView* to = &p.q;
  int columns = p.q_columns;
  if (at >= p.q_columns) at -= p.q_columns, to = &p.key, columns = p.key_columns;
  if (to == &p.key && at >= p.key_columns) at -= p.key_columns, to = &p.value;
  if (!to->data) return;
  device::store(to->data, to->offset(m * (columns / p.head) + at / p.head) + at % p.head, to->dtype, v);
}

// The two sums of columns j and j + 4 of unit u, row m.
__device__ inline void finish_pair(const ProductPhase& p, const Where& w, int u, int m, int j, float a,
                                   float b) {
  if (p.columns == Columns::gated) {
    const int column = 4 * u + j;
    if (p.bias) a += p.bias[column];
    if (p.up_bias) b += p.up_bias[column];
    device::store(p.out.data, p.out.offset(m) + column, p.out.dtype, device::curve(p.curve, a) * b);
    return;
  }
  const int first = weight_row(p, u, j), second = weight_row(p, u, j + 4);
  if (p.columns == Columns::plain) {
    const int64_t to = p.out.offset(m);
    if (first >= 0) device::store(p.out.data, to + first, p.out.dtype, finish_column(p, w, m, first, a));
    if (second >= 0) {
      device::store(p.out.data, to + second, p.out.dtype, finish_column(p, w, m, second, b));
    }
    return;
  }
  if (p.bias) a += p.bias[first], b += p.bias[second];
  if (p.rotation.cos && 8 * u < p.q_columns + p.key_columns) {
    const int half = p.head / 2;
    const int position = __ldcg(p.rotation.positions + m % p.rotation.position_count);
    const int64_t at = int64_t{position} * half + (4 * u + j) % half;
    const float c = p.rotation.cos[at], s = p.rotation.sin[at], x = a;
    a = x * c - b * s;
    b = b * c + x * s;
  }
  store_head(p, m, first, a);
  store_head(p, m, second, b);
}

// Sums of a pass: [kWarps / 2][units][16 MT rows][8 columns], then in the first of these.
template <int MT>
__device__ void finish_pass(const ProductPhase& p, const Where& w, int first, int count, float* sums) {
  constexpr int kUnit = 16 * MT * kColumns;
  namespace cg = cooperative_groups;
  const int slots = kWarps / 2, stride = pass_units(MT) * kUnit;
  if (!p.split) {
    for (int i = threadIdx.x; i < count * p.m * 4; i += kThreads) {
      const int j = i % 4, m = i / 4 % p.m, u = i / 4 / p.m;
      float a = 0, b = 0;
      for (int s = 0; s < slots; ++s) {
        const float* at = sums + s * stride + u * kUnit + m * kColumns + j;
        a += at[0], b += at[4];
      }
      finish_pair(p, w, first + u, m, j, a, b);
    }
    return;
  }
  for (int i = threadIdx.x; i < count * kUnit / 4; i += kThreads) {
    float4* at = reinterpret_cast<float4*>(sums) + i;
    float4 v = *at;
    for (int s = 1; s < slots; ++s) {
      const float4 o = at[s * stride / 4];
      v.x += o.x, v.y += o.y, v.z += o.z, v.w += o.w;
    }
    *at = v;
  }
  cg::cluster_group cluster = cg::this_cluster();
  cluster.sync();
  const int mine = (count - w.rank + w.cluster_size - 1) / w.cluster_size;
  for (int i = threadIdx.x; i < mine * p.m * 4; i += kThreads) {
    const int j = i % 4, m = i / 4 % p.m, u = i / 4 / p.m * w.cluster_size + w.rank;
    float a = 0, b = 0;
    for (int r = 0; r < w.cluster_size; ++r) {
      const float* at = cluster.map_shared_rank(sums, r) + u * kUnit + m * kColumns + j;
      a += at[0], b += at[4];
    }
    finish_pair(p, w, first + u, m, j, a, b);
  }
  cluster.sync();  // nobody overwrites sums that another still reads
}

template <int MT>
__device__ void run_product(const ProductPhase& p, const Where& w, Ring& ring, const float* factor,
                            const float* addend, std::byte* region) {
  constexpr int kPass = pass_units(MT), kUnit = 16 * MT * kColumns;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int parts = p.split ? w.cluster_size * kWarps : kWarps;
  const int cta_part = p.split ? w.rank * kWarps : 0;
  const int cta_first = p.blocks * cta_part / parts, cta_last = p.blocks * (cta_part + kWarps) / parts;
  const int block_first = p.blocks * (cta_part + warp) / parts;
  const int block_last = p.blocks * (cta_part + warp + 1) / parts;
  const Share mine = p.split ? share(p.units, w.cluster, w.clusters, p.rotate_share)
                             : share(p.units, w.cta, w.ctas, p.rotate_share);
  const int columns = (cta_last - cta_first) * kBlock, pitch = columns + 8;
  __nv_bfloat16* x = reinterpret_cast<__nv_bfloat16*>(region);
  float* sums = reinterpret_cast<float*>(region + (p.m * pitch * 2 + 127) / 128 * 128);
  load_rows<MT == 1 ? 2 : 4>(p, w, cta_first * kBlock, columns, pitch, factor, addend, x);
  __syncthreads();
  for (int first = mine.first; first < mine.last; first += kPass) {
    const int count = min(kPass, mine.last - first);
    float acc[kPass][MT][4] = {};
    for (int b = block_first; b < block_last; ++b) {
      uint32_t a[2][MT][4];
      const int at = (b - cta_first) * kBlock + lane / 16 * 8;
#pragma unroll
      for (int t = 0; t < MT; ++t) {
        const int r = min(16 * t + lane % 16, p.m - 1);  // rows past m: any finite values
        device::ldmatrix(a[0][t], x + r * pitch + at);
        device::ldmatrix(a[1][t], x + r * pitch + at + 16);
      }
#pragma unroll
      for (int u = 0; u < kPass; ++u) {
        if (u >= count) break;
        const uint4 tile = ring.take();
#pragma unroll
        for (int t = 0; t < MT; ++t) {
          device::mma<__nv_bfloat16>(acc[u][t], a[0][t], tile.x, tile.y);
          device::mma<__nv_bfloat16>(acc[u][t], a[1][t], tile.z, tile.w);
        }
      }
    }
    float* slot = sums + (warp % (kWarps / 2)) * kPass * kUnit + lane / 4 * kColumns + lane % 4 * 2;
    for (int half = 1; half >= 0; --half) {  // the upper warps leave their sums, the lower add theirs
      if (warp / (kWarps / 2) == half) {
#pragma unroll
        for (int u = 0; u < kPass; ++u) {
          if (u >= count) break;
#pragma unroll
          for (int t = 0; t < MT; ++t) {
#pragma unroll
            for (int r = 0; r < 2; ++r) {
              float2* to = reinterpret_cast<float2*>(slot + u * kUnit + (16 * t + 8 * r) * kColumns);
              float2 v = make_float2(acc[u][t][2 * r], acc[u][t][2 * r + 1]);
              if (half == 0) v.x += to->x, v.y += to->y;
              *to = v;
            }
          }
        }
      }
      __syncthreads();
    }
    finish_pass<MT>(p, w, first, count, sums);
    __syncthreads();
  }
}

}  // namespace tendon::cuda::persistent
