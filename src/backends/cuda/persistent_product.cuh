// The product phase: weights from the warp's ring, sums over warps (and over the cluster where it
// shares the inputs) in a fixed order.
#pragma once

#include <cooperative_groups.h>

#include "backends/cuda/persistent_rows.cuh"

namespace tendon::cuda::persistent {

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

// What a result needs beside its sums and that no phase writes. plain: two biases, two gates;
// gated: two biases; pairs: two biases, cosine, sine.
__device__ inline float4 operands_of(const ProductPhase& p, const Where& w, int unit, int m,
                                     int j) {
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
  return make_float2(
      load_fresh(p.residual.data, at, p.residual.dtype),
      8 * unit + j + 4 < p.n ? load_fresh(p.residual.data, at + 4, p.residual.dtype) : 0.0f);
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
  const int h = divide(at, 0.5f * p.inverse_half),
            row = m * divide(columns, 0.5f * p.inverse_half) + h;
  const int64_t to = is_q ? p.q.at(row) : is_v ? p.value.at(row) : p.key.at(row);
  device::store(data, to + at - h * p.head,
                is_q   ? p.q.dtype
                : is_v ? p.value.dtype
                       : p.key.dtype,
                v);
}

__device__ inline void finish_pair(const ProductPhase& p, int unit, int m, int j, float2 sum,
                                   float4 e, float2 residual) {
  const float a = sum.x + e.x, b = sum.y + e.y;
  if (p.columns == Columns::gated) {
    device::store(p.out.data, p.out.at(m) + 4 * unit + j, p.out.dtype,
                  device::curve(p.curve, a) * b);
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

// Few rows: activations stay in registers, units follow one another. Compact code matters: what
// runs once a phase comes from the instruction cache's far end.
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
__device__ void finish_pass(const ProductPhase& phase, const Where& w, int first, int count,
                            float* sums, const Ready& ready, int at_hand) {
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

__device__ inline void load_residuals(const ProductPhase& phase, const Where& w, int first,
                                      int count, const Ready& ready) {
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
__device__ __forceinline__ void run_product(const ProductPhase& p, const Where& w, Ring& ring,
                                            const Constants& constants, const Ready& ready,
                                            std::byte* region, bool closes) {
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
