// The product phase: a cluster owns units of columns, its CTAs a part of the inputs each; sums over
// warps, then over the cluster, in a fixed order.
#pragma once

#include "backends/cuda/persistent_rows.cuh"

namespace tendon::cuda::persistent {

// N units of a warp over all its blocks: for each block a tile of every unit. Sums go to
// to[(unit * m + row) * 8 + column].
template <int MT, int N, class Rows>
__device__ __forceinline__ void multiply_units(int m, int lane, int blocks, Ring& ring, float* to,
                                               const Rows& rows) {
  constexpr int kEach = kSlotTiles / N;  // blocks of a piece
  float acc[N][MT][4] = {};
  std::uint32_t tiles = 0;
  int left = 0;
  rows.each_block(blocks, [&](int b, const Block<MT>& a) {
    if (kEach == 1 || left == 0) tiles = ring.wait(), left = min(kEach, blocks - b);
    uint4 t[N];
#pragma unroll
    for (int u = 0; u < N; ++u) t[u] = load_tile(tiles + u * kTileBytes);
#pragma unroll
    for (int u = 0; u < N; ++u) {
#pragma unroll
      for (int i = 0; i < MT; ++i) device::mma<__nv_bfloat16>(acc[u][i], a[0][i], t[u].x, t[u].y);
    }
#pragma unroll
    for (int u = 0; u < N; ++u) {
#pragma unroll
      for (int i = 0; i < MT; ++i) device::mma<__nv_bfloat16>(acc[u][i], a[1][i], t[u].z, t[u].w);
    }
    tiles += N * kTileBytes;
    if (kEach == 1 || --left == 0) ring.release();
  });
#pragma unroll
  for (int i = 0; i < 2 * MT; ++i) {
    const int r = 8 * i + lane / 4;
    if (r >= m) break;
#pragma unroll
    for (int u = 0; u < N; ++u) {
      *reinterpret_cast<float2*>(to + (u * m + r) * kColumns) =
          make_float2(acc[u][i / 2][i % 2 * 2], acc[u][i / 2][i % 2 * 2 + 1]);
    }
  }
}

// A warp's share of a product: its units in groups.
template <int MT, int G, class Rows>
__device__ __forceinline__ void multiply(const Work& w, int m, int lane, RingState& stream,
                                         float* sums, const Rows& rows) {
  Ring ring(stream, lane);
#pragma unroll 1
  for (int g = 0; g < w.mine; g += G) {
    float* to = sums + (w.first_mine + g) * m * kColumns + lane % 4 * 2;
    const int count = w.mine - g;
    if (G >= 5 && count >= 5) {
      multiply_units<MT, (G >= 5 ? 5 : 1)>(m, lane, w.blocks, ring, to, rows);
    } else if (G >= 4 && count >= 4) {
      multiply_units<MT, (G >= 4 ? 4 : 1)>(m, lane, w.blocks, ring, to, rows);
    } else if (count >= 3) {
      multiply_units<MT, 3>(m, lane, w.blocks, ring, to, rows);
    } else if (count == 2) {
      multiply_units<MT, 2>(m, lane, w.blocks, ring, to, rows);
    } else {
      multiply_units<MT, 1>(m, lane, w.blocks, ring, to, rows);
    }
  }
  ring.save(stream);
}

template <int MT>
struct StagedRows {
  const std::byte* x;
  int m, pitch, lane;
  template <class F>
  __device__ __forceinline__ void each_block(int blocks, const F& f) const {
#pragma unroll 1
    for (int b = 0; b < blocks; ++b) {
      Block<MT> a;
      staged_block<MT>(x, m, pitch, b, lane, a);
      f(b, a);
    }
  }
};

template <int MT>
struct HeldRows {
  Block<MT> a[kDirectBlocks];
  template <class F>
  __device__ __forceinline__ void each_block(int blocks, const F& f) const {
#pragma unroll
    for (int b = 0; b < kDirectBlocks; ++b) {
      if (b >= blocks) break;
      f(b, a[b]);
    }
  }
};

// Shared memory of a phase.
struct Desk {
  std::byte* region;
  float2* row_sums;
  std::int32_t* positions;  // of the rows of a product with a rotation
  RingState* ring;          // the warp's
};

// One result: columns 2 j and 2 j + 1 of unit `u` of the cluster, row m.
struct Item {
  int u, m, j;
};

// What a CTA finishes: some rows of all of the cluster's columns.
struct Finish {
  int first_row, rows, units, first_unit, items;
  float inverse;

  __device__ explicit Finish(const Work& w)
      : first_row(w.first_row),
        rows(w.rows),
        units(w.units),
        first_unit(w.first_unit),
        items(w.rows * w.units * 4),
        inverse(w.inverse_row) {}
  __device__ Item item(int i) const {
    const int r = divide(i, inverse), rest = i - r * units * 4;
    return {rest / 4, first_row + r, rest % 4};
  }
};

__device__ inline float curve_of(device::Curve c, float x) {
  if (c == device::Curve::none) return x;
  if (c == device::Curve::gelu_erf) return device::curve(c, x);
  const float u = c == device::Curve::silu ? x : 1.5957691216057308f * (x + 0.044715f * x * x * x);
  return __fdividef(x, 1.0f + __expf(-u));
}

__device__ inline void store_one(const device::RowsView& to, int64_t at, float v) {
  if (to.dtype == DType::bf16) {
    static_cast<__nv_bfloat16*>(to.data)[at] = __float2bfloat16(v);
  } else if (to.dtype == DType::f16) {
    static_cast<__half*>(to.data)[at] = __float2half(v);
  } else {
    static_cast<float*>(to.data)[at] = v;
  }
}

// How each kind of columns comes from sums to results: what a result needs beside its sums and that
// is fetched before they are complete, then the rest.
template <Columns>
struct Result;

template <>
struct Result<Columns::gated> {
  float2 bias;
  __device__ __forceinline__ void fetch(const ProductPhase& p, const Where&, const int32_t*,
                                        int unit, int, int j) {
    bias.x = p.bias ? p.bias[4 * unit + j] : 0.0f;
    bias.y = p.up_bias ? p.up_bias[4 * unit + j] : 0.0f;
  }
  __device__ __forceinline__ void finish(const ProductPhase& p, int unit, int m, int j,
                                         float2 sum) const {
    store_one(p.out, p.out.at(m) + 4 * unit + j, curve_of(p.curve, sum.x) * sum.y);
  }
};

template <>
struct Result<Columns::plain> {
  float2 bias, gate, wide;
  uint32_t narrow;  // a residual in bf16
  __device__ __forceinline__ void fetch(const ProductPhase& p, const Where& w, const int32_t*,
                                        int unit, int m, int j) {
    const int c = 8 * unit + 2 * j;
    bias = wide = make_float2(0, 0), gate = make_float2(1, 1), narrow = 0;
    if (c >= p.n) return;
    if (p.residual.data) {
      const int64_t at = p.residual.at(m) + c;
      if (p.residual.dtype == DType::bf16) {
        narrow = __ldcg(reinterpret_cast<const unsigned*>(
            static_cast<const __nv_bfloat16*>(p.residual.data) + at));
      } else {
        wide = __ldcg(
            reinterpret_cast<const float2*>(static_cast<const float*>(p.residual.data) + at));
      }
    }
    if (p.bias) bias = make_float2(p.bias[c], p.bias[c + 1]);
    if (p.gate.data) {
      const float* from = table_row(p.gate, m, w.iteration, w.now) + c;
      gate = make_float2(from[0], from[1]);
    }
    if (p.after_q) gate = make_float2(p.after_q[c], p.after_q[c + 1]);
  }
  __device__ __forceinline__ void finish(const ProductPhase& p, int unit, int m, int j,
                                         float2 sum) const {
    const int c = 8 * unit + 2 * j;
    if (c >= p.n) return;
    const float2 other = device::unpack_bf16(narrow);
    const float x = curve_of(p.curve, sum.x) * gate.x + wide.x + other.x;
    const float y = curve_of(p.curve, sum.y) * gate.y + wide.y + other.y;
    const int64_t to = p.out.at(m) + c;
    if (p.out.dtype == DType::bf16) {
      *reinterpret_cast<uint32_t*>(static_cast<__nv_bfloat16*>(p.out.data) + to) =
          device::pack_bf16(x, y);
    } else {
      *reinterpret_cast<float2*>(static_cast<float*>(p.out.data) + to) = make_float2(x, y);
    }
  }
};

// Column 8 unit + .. lies in q, key or value; a pair's columns lie in one head.
template <>
struct Result<Columns::pairs> {
  float2 bias, turn, after;
  int64_t to, step;  // elements: where the first goes, and how far away the second
  __device__ __forceinline__ void fetch(const ProductPhase& p, const Where&,
                                        const int32_t* positions, int unit, int m, int j) {
    const int before = 8 * unit < p.q_columns                   ? 0
                       : 8 * unit < p.q_columns + p.key_columns ? p.q_columns
                                                                : p.q_columns + p.key_columns;
    const device::RowsView& view = part(p, unit);
    const bool turned = before < p.q_columns + p.key_columns;
    const int half = p.head / 2;
    int h, first, second;
    if (turned) {
      const int pair = 4 * unit + j - before / 2, i = pair - divide(pair, p.inverse_half) * half;
      h = divide(pair, p.inverse_half);
      first = p.rotation.interleaved ? 2 * i : i;
      second = p.rotation.interleaved ? 2 * i + 1 : i + half;
      turn = make_float2(1, 0);
      if (p.rotation.cos) {
        const int64_t at = int64_t{positions[m]} * half + i;
        turn = make_float2(p.rotation.cos[at], p.rotation.sin[at]);
      }
    } else {
      const int c = 8 * unit + 2 * j - before;
      h = divide(c, 0.5f * p.inverse_half);
      first = c - h * p.head, second = first + 1;
      turn = make_float2(1, 0);
    }
    const int columns = before ? p.key_columns : p.q_columns, c = h * p.head + first;
    bias = after = make_float2(1, 1);
    const float* weights = before ? p.after_key : p.after_q;
    if (turned && weights) after = make_float2(weights[c], weights[c + second - first]);
    bias = make_float2(0, 0);
    if (p.bias) bias = make_float2(p.bias[before + c], p.bias[before + c + second - first]);
    const int row = m * divide(columns, 0.5f * p.inverse_half) + h;
    to = view.at(row) + first, step = second - first;
  }
  __device__ __forceinline__ void finish(const ProductPhase& p, int unit, int, int,
                                         float2 sum) const {
    const device::RowsView& view = part(p, unit);
    if (!view.data) return;
    const float x = sum.x * after.x, y = sum.y * after.y;
    store_one(view, to, x * turn.x - y * turn.y);
    store_one(view, to + step, y * turn.x + x * turn.y);
  }
  __device__ static const device::RowsView& part(const ProductPhase& p, int unit) {
    return 8 * unit < p.q_columns ? p.q : 8 * unit < p.q_columns + p.key_columns ? p.key : p.value;
  }
};

// Adds up the warps' sums in the first slot.
__device__ inline void add_slots(int elements, int thread, float* sums) {
  for (int i = thread; i < elements / 4; i += kThreads) {
    float4* at = reinterpret_cast<float4*>(sums) + i;
    float4 v[kWarps];
#pragma unroll
    for (int s = 0; s < kWarps; ++s) v[s] = at[s * (elements / 4)];
#pragma unroll
    for (int s = 1; s < kWarps; ++s) {
      v[0].x += v[s].x, v[0].y += v[s].y, v[0].z += v[s].z, v[0].w += v[s].w;
    }
    *at = v[0];
  }
}

// Squares of the rows that this CTA finished, from the raw results that it left in its own sums.
static __device__ __noinline__ void sum_squares(const ProductPhase& p, const Where& w,
                                                const Finish& f, const float* sums) {
  const int lane = w.lane();
  for (int m = f.first_row + w.warp(); m < f.first_row + f.rows; m += kWarps) {
    float q = 0, k = 0;
    for (int i = lane; i < f.units * 4; i += 32) {
      const int column = 8 * (f.first_unit + i / 4);
      const float2 v =
          *reinterpret_cast<const float2*>(sums + (i / 4 * p.m + m) * kColumns + i % 4 * 2);
      const float s = v.x * v.x + v.y * v.y;
      if (p.columns == Columns::plain || column < p.q_columns) {
        q += s;
      } else if (column < p.q_columns + p.key_columns) {
        k += s;
      }
    }
    q = device::warp_sum(q), k = device::warp_sum(k);
    if (lane == 0) {
      p.squares[2 * w.cluster * p.m + m] = q;
      p.squares[(2 * w.cluster + 1) * p.m + m] = k;
    }
  }
}

// Results of a thread whose operands are fetched together.
constexpr int at_once(Columns c) { return c == Columns::plain ? 2 : 3; }

// From the warps' sums to results. A function of its own: its registers are not those of the
// products.
template <Columns kKind>
__device__ __noinline__ void finish_product(const ProductPhase& p, const Where& w, const Gate& gate,
                                            const Work& work, const int32_t* positions,
                                            float* sums) {
  constexpr int kAtOnce = at_once(kKind);
  const Finish f(work);
  const bool held = p.norm == NormKind::none;
  const uint32_t base = device::shared_address(sums);
  uint32_t peers[kCluster];
#pragma unroll
  for (int rank = 0; rank < kCluster; ++rank) peers[rank] = peer_address(sums, rank);
  bool met = false;
#pragma unroll 1
  for (int first = w.thread; !met || first < f.items; first += kAtOnce * kThreads) {
    Result<kKind> result[kAtOnce];
    Item at[kAtOnce];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      at[k] = f.item(max(0, min(first + k * kThreads, f.items - 1)));
      result[k].fetch(p, w, positions, min(f.first_unit + at[k].u, p.units - 1),
                      min(at[k].m, p.m - 1), at[k].j);
    }
    if (!met) {
      met = true;
      if (held) {
        __syncthreads();
        add_slots(work.units * p.m * kColumns, w.thread, sums);
      }
      cluster_sync();
      gate.mark(4);
    }
    float2 part[kAtOnce][kCluster];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      const uint32_t mine =
          device::shared_address(sums + (at[k].u * p.m + at[k].m) * kColumns + at[k].j * 2) - base;
#pragma unroll
      for (int rank = 0; rank < kCluster; ++rank) {
        part[k][rank] = load_peer2(peers[rank] + mine);
      }
    }
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      float2 sum = result[k].bias;
#pragma unroll
      for (int rank = 0; rank < kCluster; ++rank) {
        sum.x += part[k][rank].x, sum.y += part[k][rank].y;
      }
      if (first + k * kThreads >= f.items) break;
      if (p.squares) {
        *reinterpret_cast<float2*>(sums + (at[k].u * p.m + at[k].m) * kColumns + at[k].j * 2) = sum;
      }
      result[k].finish(p, f.first_unit + at[k].u, at[k].m, at[k].j, sum);
    }
  }
  if (p.squares) {
    __syncthreads();
    sum_squares(p, w, f, sums);
  }
}

// Positions of the rows, for a rotation: in shared memory before the phase may begin.
__device__ __forceinline__ void stage_positions(const ProductPhase& p, int m, int32_t* positions) {
  const int count = p.rotation.position_count;
  if (p.columns == Columns::pairs && p.rotation.cos && m < p.m) {
    positions[m] = p.rotation.positions[m < count ? m : m % count];
  }
}

template <int MT>
__device__ __forceinline__ void run_product(const ProductPhase& p, const Work& work, const Where& w,
                                            const Gate& gate, const Desk& desk) {
  float* sums = reinterpret_cast<float*>(desk.region + rows_bytes(p));
  stage_positions(p, w.thread, desk.positions);
  if (p.norm != NormKind::none) {
    stage_rows<MT>(p, w, work, gate, desk.row_sums, desk.region);
    gate.mark(2);
    multiply<MT, most_group(MT, NormKind::rms)>(
        work, p.m, w.lane(), *desk.ring, sums,
        StagedRows<MT>{desk.region, p.m, row_pitch(work.cta_blocks), w.lane()});
  } else {
    const DirectRows<MT> from(p, work.first_block, w.lane());
    HeldRows<MT> rows;
    gate.wait();
#pragma unroll
    for (int b = 0; b < kDirectBlocks; ++b) from.block(b, work.blocks, rows.a[b]);
    gate.mark(2);
    multiply<MT, most_group(MT, NormKind::none)>(
        work, p.m, w.lane(), *desk.ring, sums + w.warp() * work.units * p.m * kColumns, rows);
  }
  gate.mark(3);
  if (p.columns == Columns::plain) {
    finish_product<Columns::plain>(p, w, gate, work, desk.positions, sums);
  } else if (p.columns == Columns::gated) {
    finish_product<Columns::gated>(p, w, gate, work, desk.positions, sums);
  } else {
    finish_product<Columns::pairs>(p, w, gate, work, desk.positions, sums);
  }
}

}  // namespace tendon::cuda::persistent
