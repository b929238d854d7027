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
  int row = now;
  if (t.index != iteration) row = __ldcg(t.index + (t.rows == 1 ? r : r / t.rows));
  return t.data + int64_t{row} * t.stride;
}

struct Where {
  int cta, ctas, rank, cluster_size, cluster, clusters;
  const int32_t* iteration;
  int now;
};

// What a norm leaves to do once mean and deviation are known: x * factor + addend. Columns 8 v .. 8 v + 3
// lie in the first half of each array, 8 v + 4 .. 8 v + 7 in the second: no two lanes meet in a bank.
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

// Functions below copy the phase: it lies in shared memory, and its fields would be read again after
// every store.
__device__ inline void stage_constants(const ProductPhase& phase, const Where& w, const Constants& to) {
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

// One result of a pass: the sums of columns j and j + 4 of unit `u` (of the pass), row m.
struct Item {
  int u, m, j;
};
__device__ inline Item item_of(const ProductPhase& p, const Where& w, int i) {
  const int u = divide(i / 4, p.inverse_m);
  return {p.split ? u * kCluster + w.rank : u, i / 4 - u * p.m, i % 4};
}
__device__ inline int items_of(const ProductPhase& p, const Where& w, int count) {
  return (p.split ? (count - w.rank + kCluster - 1) / kCluster : count) * p.m * 4;
}
__device__ inline Share share_of(const ProductPhase& p, const Where& w) {
  return p.split ? share(p.units, w.cluster, w.clusters, p.rotate_share)
                 : share(p.units, w.cta, w.ctas, p.rotate_share);
}

// What a result needs beside its sums and that no phase writes. plain: two biases, two gates; gated:
// two biases; pairs: two biases, cosine, sine.
__device__ inline float4 operands_of(const ProductPhase& p, const Where& w, int unit, int m, int j) {
  float4 e = make_float4(0, 0, 1, p.columns == Columns::pairs ? 0.0f : 1.0f);
  if (p.columns == Columns::gated) {
    if (p.bias) e.x = p.bias[4 * unit + j];
    if (p.up_bias) e.y = p.up_bias[4 * unit + j];
    return e;
  }
  const int first = weight_row(p, unit, j), second = weight_row(p, unit, j + 4);
  if (p.bias) e.x = first >= 0 ? p.bias[first] : 0.0f, e.y = second >= 0 ? p.bias[second] : 0.0f;
  if (p.columns == Columns::plain) {
    if (!p.gate.data) return e;
    const float* gate = table_row(p.gate, m, w.iteration, w.now);
    e.z = first >= 0 ? gate[first] : 0.0f, e.w = second >= 0 ? gate[second] : 0.0f;
    return e;
  }
  if (p.rotation.cos && 8 * unit < p.q_columns + p.key_columns) {
    const int half = p.head / 2, count = p.rotation.position_count;
    const int position = p.rotation.positions[m < count ? m : m % count], pair = 4 * unit + j;
    const int64_t at = int64_t{position} * half + pair - divide(pair, p.inverse_half) * half;
    e.z = p.rotation.cos[at], e.w = p.rotation.sin[at];
  }
  return e;
}

__device__ inline float2 residual_of(const ProductPhase& p, int unit, int m, int j) {
  if (!p.residual.data) return make_float2(0, 0);
  const int64_t at = p.residual.at(m) + 8 * unit + j;
  return make_float2(load_fresh(p.residual.data, at, p.residual.dtype),
                     8 * unit + j + 4 < p.n ? load_fresh(p.residual.data, at + 4, p.residual.dtype)
                                            : 0.0f);
}

// Before the phase may begin: the first results' operands, each for the thread that needs it.
__device__ inline void stage_operands(const ProductPhase& phase, const Where& w, float4* early) {
  const ProductPhase p = phase;
  const Share mine = share_of(p, w);
  const int count = min(items_of(p, w, mine.last - mine.first), kEarly * kThreads);
#pragma unroll 1
  for (int i = threadIdx.x; i < count; i += kThreads) {
    const Item item = item_of(p, w, i);
    early[i] = operands_of(p, w, mine.first + item.u, item.m, item.j);
  }
}

__device__ inline void store_head(const ProductPhase& p, int m, int column, float v) {
  const bool is_q = column < p.q_columns, is_v = column >= p.q_columns + p.key_columns;
  const int columns = is_q ? p.q_columns : p.key_columns;
  const int at = is_q ? column : column - p.q_columns - (is_v ? p.key_columns : 0);
  void* data = is_q ? p.q.data : is_v ? p.value.data : p.key.data;
  if (!data) return;
  const int h = divide(at, 0.5f * p.inverse_half), row = m * divide(columns, 0.5f * p.inverse_half) + h;
  const int64_t to = is_q ? p.q.at(row) : is_v ? p.value.at(row) : p.key.at(row);
  device::store(data, to + at - h * p.head, is_q ? p.q.dtype : is_v ? p.value.dtype : p.key.dtype, v);
}

__device__ inline void finish_pair(const ProductPhase& p, int unit, int m, int j, float2 sum, float4 e,
                                   float2 residual) {
  const float a = sum.x + e.x, b = sum.y + e.y;
  if (p.columns == Columns::gated) {
    device::store(p.out.data, p.out.at(m) + 4 * unit + j, p.out.dtype, device::curve(p.curve, a) * b);
    return;
  }
  if (p.columns == Columns::plain) {
    const int first = 8 * unit + j;
    const int64_t to = p.out.at(m) + first;
    if (first < p.n) {
      device::store(p.out.data, to, p.out.dtype, device::curve(p.curve, a) * e.z + residual.x);
    }
    if (first + 4 < p.n) {
      device::store(p.out.data, to + 4, p.out.dtype, device::curve(p.curve, b) * e.w + residual.y);
    }
    return;
  }
  store_head(p, m, weight_row(p, unit, j), a * e.z - b * e.w);
  store_head(p, m, weight_row(p, unit, j + 4), b * e.z + a * e.w);
}

// The sums of an item over warps, or over the cluster's CTAs, in a fixed order.
template <int MT>
__device__ inline float2 collect(const ProductPhase& p, float* sums, const Item& item) {
  constexpr int kUnit = 16 * MT * kColumns, kStride = pass_units(MT) * kUnit;
  float* at = sums + item.u * kUnit + item.m * kColumns + item.j;
  if (p.split) {
    float a[kCluster], b[kCluster];
#pragma unroll
    for (int s = 0; s < kCluster; ++s) {
      const float* from = cooperative_groups::this_cluster().map_shared_rank(at, s);
      a[s] = from[0], b[s] = from[4];
    }
    return make_float2(a[0] + a[1] + a[2] + a[3], b[0] + b[1] + b[2] + b[3]);
  }
  float a = 0, b = 0;
#pragma unroll
  for (int s = 0; s < kWarps; ++s) a += at[s * kStride], b += at[s * kStride + 4];
  return make_float2(a, b);
}

// Adds up the warps' sums of a pass in the first slot.
template <int MT>
__device__ void add_slots(int count, float* sums) {
  constexpr int kUnit = 16 * MT * kColumns, kStride = pass_units(MT) * kUnit / 4;
  for (int i = threadIdx.x; i < count * kUnit / 4; i += kThreads) {
    float4* at = reinterpret_cast<float4*>(sums) + i;
    float4 v = at[0];
#pragma unroll
    for (int s = 1; s < kWarps; ++s) {
      const float4 o = at[s * kStride];
      v.x += o.x, v.y += o.y, v.z += o.z, v.w += o.w;
    }
    *at = v;
  }
}

constexpr int kMostBlocks = kMostInputs / kBlock / kWarps;  // of a warp

// A warp's place in the sums of a pass: its slot, the rows and columns that a lane's results have.
template <int MT>
__device__ inline float* slot_of(float* sums) {
  return sums + threadIdx.x / 32 * pass_units(MT) * 16 * MT * kColumns +
         threadIdx.x % 32 / 4 * kColumns + threadIdx.x % 4 * 2;
}

// Few rows: activations stay in registers, units follow one another. Compact code matters: what runs
// once a phase comes from the instruction cache's far end.
template <int MT>
__device__ __forceinline__ void multiply_units(const __nv_bfloat16* x, int m, int pitch, int begin,
                                               int end, int count, Ring& stream, float* sums) {
  Ring ring = stream;  // in registers meanwhile
  const int lane = threadIdx.x % 32;
  uint32_t a[kMostBlocks][2][MT][4];
#pragma unroll
  for (int b = 0; b < kMostBlocks; ++b) {
    if (begin + b >= end) break;
#pragma unroll
    for (int t = 0; t < MT; ++t) {
      const int r = min(16 * t + lane % 16, m - 1);  // rows past m: any finite values
      const __nv_bfloat16* from = x + r * pitch + (begin + b) * kBlock + lane / 16 * 8;
      device::ldmatrix(a[b][0][t], from);
      device::ldmatrix(a[b][1][t], from + 16);
    }
  }
  float* slot = slot_of<MT>(sums);
#pragma unroll 1
  for (int u = 0; u < count; ++u, slot += 16 * MT * kColumns) {
    float acc[2][MT][4] = {};
#pragma unroll
    for (int b = 0; b < kMostBlocks; ++b) {
      if (begin + b >= end) break;
      const uint4 tile = ring.take();
#pragma unroll
      for (int t = 0; t < MT; ++t) {
        device::mma<__nv_bfloat16>(acc[0][t], a[b][0][t], tile.x, tile.y);
        device::mma<__nv_bfloat16>(acc[1][t], a[b][1][t], tile.z, tile.w);
      }
    }
#pragma unroll
    for (int t = 0; t < MT; ++t) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        *reinterpret_cast<float2*>(slot + (16 * t + 8 * r) * kColumns) = make_float2(
            acc[0][t][2 * r] + acc[1][t][2 * r], acc[0][t][2 * r + 1] + acc[1][t][2 * r + 1]);
      }
    }
  }
  stream = ring;
}

// Many rows: the units of a pass share what is read of the activations.
template <int MT>
__device__ __forceinline__ void multiply_pass(const __nv_bfloat16* x, int m, int pitch, int begin,
                                              int end, int count, Ring& stream, float* sums) {
  constexpr int kPass = pass_units(MT);
  Ring ring = stream;
  const int lane = threadIdx.x % 32;
  float acc[kPass][MT][4] = {};
#pragma unroll 1
  for (int b = begin; b < end; ++b) {
    uint32_t a[2][MT][4];
    const int at = b * kBlock + lane / 16 * 8;
#pragma unroll
    for (int t = 0; t < MT; ++t) {
      const int r = min(16 * t + lane % 16, m - 1);
      device::ldmatrix(a[0][t], x + r * pitch + at);
      device::ldmatrix(a[1][t], x + r * pitch + at + 16);
    }
#pragma unroll
    for (int u = 0; u < kPass; ++u) {
      if (u >= count) break;
      const uint4 tile = ring.take();
#pragma unroll
      for (int t = 0; t < MT; ++t) device::mma<__nv_bfloat16>(acc[u][t], a[0][t], tile.x, tile.y);
#pragma unroll
      for (int t = 0; t < MT; ++t) device::mma<__nv_bfloat16>(acc[u][t], a[1][t], tile.z, tile.w);
    }
  }
  stream = ring;
  float* slot = slot_of<MT>(sums);
#pragma unroll
  for (int u = 0; u < kPass; ++u) {
    if (u >= count) break;
#pragma unroll
    for (int t = 0; t < MT; ++t) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        *reinterpret_cast<float2*>(slot + ((u * MT + t) * 16 + 8 * r) * kColumns) =
            make_float2(acc[u][t][2 * r], acc[u][t][2 * r + 1]);
      }
    }
  }
}

// Operands of the first results at hand, each where the thread that needs it put it.
struct Ready {
  float4* operands;
  float2* residual;
};

template <int MT>
__device__ void finish_pass(const ProductPhase& phase, const Where& w, int first, int count, float* sums,
                            const Ready& ready, int at_hand) {
  const ProductPhase p = phase;
  const int items = items_of(p, w, count);
#pragma unroll 1
  for (int i = threadIdx.x; i < items; i += kThreads) {
    const Item item = item_of(p, w, i);
    const float2 sum = collect<MT>(p, sums, item);
    float4 e;
    float2 r;
    if (i < at_hand) {
      e = ready.operands[i], r = ready.residual[i];
    } else {
      e = operands_of(p, w, first + item.u, item.m, item.j);
      r = residual_of(p, first + item.u, item.m, item.j);
    }
    finish_pair(p, first + item.u, item.m, item.j, sum, e, r);
  }
}

__device__ inline void load_residuals(const ProductPhase& phase, const Where& w, int first, int count,
                                      const Ready& ready) {
  const ProductPhase p = phase;
  const int items = min(items_of(p, w, count), kEarly * kThreads);
  const bool any = p.residual.data && p.columns == Columns::plain;
#pragma unroll 1
  for (int i = threadIdx.x; i < items; i += kThreads) {
    const Item item = item_of(p, w, i);
    ready.residual[i] = any ? residual_of(p, first + item.u, item.m, item.j) : make_float2(0, 0);
  }
}

template <int MT>
__device__ __forceinline__ void run_product(const ProductPhase& p, const Where& w, Ring& ring, const Constants& constants,
                            const Ready& ready, std::byte* region, bool closes) {
  constexpr int kPass = pass_units(MT);
  const bool split = p.split;
  const int warp = threadIdx.x / 32, blocks = p.blocks, m = p.m;
  const int parts = split ? kCluster * kWarps : kWarps, part = split ? w.rank * kWarps : 0;
  const int cta_first = blocks * part / parts, cta_last = blocks * (part + kWarps) / parts;
  const int begin = blocks * (part + warp) / parts - cta_first;
  const int end = blocks * (part + warp + 1) / parts - cta_first;
  const Share mine = share_of(p, w);
  const int columns = (cta_last - cta_first) * kBlock, pitch = columns + 8;
  __nv_bfloat16* x = reinterpret_cast<__nv_bfloat16*>(region);
  // At the same place in every CTA of a cluster, whose shares of the inputs may differ by a block.
  const int widest = (split ? (blocks + kCluster - 1) / kCluster : blocks) * kBlock + 8;
  float* sums = reinterpret_cast<float*>(region + (m * widest * 2 + 127) / 128 * 128);
  load_residuals(p, w, mine.first, min(kPass, mine.last - mine.first), ready);
  if (p.vectors && !p.rows_differ) {
    load_rows<MT == 1 ? 2 : 4>(p, cta_first * kBlock, columns, pitch, constants, x);
  } else {
    load_rows_singly(p, w, cta_first * kBlock, columns, pitch, x);
  }
  __syncthreads();
  for (int first = mine.first; first < mine.last; first += kPass) {
    const int count = min(kPass, mine.last - first);
    if constexpr (MT <= 2) {
      multiply_units<MT>(x, m, pitch, begin, end, count, ring, sums);
    } else {
      multiply_pass<MT>(x, m, pitch, begin, end, count, ring, sums);
    }
    __syncthreads();
    if (split) {
      add_slots<MT>(count, sums);
      cooperative_groups::this_cluster().sync();
    }
    finish_pass<MT>(p, w, first, count, sums, ready, first == mine.first ? kEarly * kThreads : 0);
    const bool last = first + kPass >= mine.last;
    if (split && (!last || closes)) {
      cooperative_groups::this_cluster().sync();
    } else {
      __syncthreads();
    }
  }
}

}  // namespace tendon::cuda::persistent
