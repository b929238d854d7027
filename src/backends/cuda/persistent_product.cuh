// The product phase. The CTAs of a group share a product's inputs, each has a part of them for all
// of the group's columns; its two warpgroups share the columns, or the inputs again. Partial
// sums go to the CTA that finishes their row, which adds them in a fixed order.
#pragma once

#include "backends/cuda/device/wgmma.cuh"
#include "backends/cuda/persistent_inputs.cuh"
#include "backends/cuda/persistent_results.cuh"

namespace tendon::cuda::persistent {

// What all lanes know alike: the compiler sees that branches on it do not part them, without which
// it lets a warpgroup's products wait for each other.
__device__ __forceinline__ int uniform(int x) { return __shfl_sync(0xffffffffu, x, 0); }

// d[64, N] = (added ? d : 0) + a tile of rows times one of columns.
template <int N>
__device__ __forceinline__ void multiply_tile(std::uint32_t rows, std::uint32_t columns, int added,
                                              float (&d)[N / 2]) {
  const uint64_t x = device::tile_descriptor(rows), y = device::tile_descriptor(columns);
  device::wgmma_fence();
#pragma unroll
  for (int k = 0; k < kBlock / 16; ++k) {  // 32 bytes on, in units of 16
    device::Wgmma<N>::run(d, x + k * 2, y + k * 2, k > 0 ? 1 : added);
  }
  device::wgmma_commit();
}

// What a warpgroup knows of its part before its inputs are there; the same in all lanes.
struct SidePlan {
  int side, units, blocks, piece_blocks;
  int both;         // pieces of the first side: those that come by turns
  int first_block;  // counted from the CTA's
  Turn first;

  __device__ __forceinline__ SidePlan(const Work& w, int warp, const Ring& ring)
      : side(uniform(warp / 4)) {
    const Side& s = w.side[side];
    const int sizes = uniform(s.units | s.blocks << 16);
    units = sizes & 0xffff, blocks = sizes >> 16, both = uniform(w.side[0].pieces);
    piece_blocks = uniform(w.piece_blocks), first_block = s.first_block;
    first = ring.turn.soon(both > 0 ? side : 0, ring.memory.depth);
  }
};

// d[64, N] = the CTA's rows times a side's columns, which has some.
template <int N>
__device__ __forceinline__ void multiply(const SidePlan& plan, std::uint32_t inputs, int tile,
                                         const Ring& ring, float (&d)[N / 2]) {
  const int depth = ring.memory.depth, column_tile = plan.units * kColumns * kRowBytes;
  std::uint32_t rows = inputs + plan.first_block * tile;
  Turn now = plan.first;
  std::uint32_t columns = ring.wait(now);
  multiply_tile<N>(rows, columns, 0, d);
#pragma unroll 1
  for (int b = 1, j = 0, in_piece = 1; b < plan.blocks; ++b) {
    const Turn before = now;
    const bool next = in_piece == plan.piece_blocks;
    if (next) {
      now = now.soon(j + 1 < plan.both ? 2 : j < plan.both ? 2 - plan.side : 1, depth);
      columns = ring.wait(now) - column_tile;
      in_piece = 0, ++j;
    }
    ++in_piece;
    rows += tile, columns += column_tile;
    multiply_tile<N>(rows, columns, 1, d);
    device::wgmma_wait<1>();
    if (next) ring.release(before);
  }
  device::wgmma_wait<0>();
  ring.release(now);
}

__device__ __forceinline__ void store_two(std::uint32_t to, float x, float y) {
  asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(to), "f"(x), "f"(y) : "memory");
}
__device__ __forceinline__ float2 load_two(std::uint32_t from) {
  float2 v;
  asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "r"(from) : "memory");
  return v;
}

// Where a warpgroup's sums go.
struct SumsPlace {
  std::uint32_t at;  // shared address
  int pitch, m, kept;
  std::uint32_t moments;  // shared address
  __device__ bool normed() const { return kept < kWarpRows; }
};

// A side's sums to shared memory: floats [row][column of the group].
template <int N>
__device__ __forceinline__ void lay_down(const SumsPlace& place, int units, const Where& w,
                                         const float (&d)[N / 2]) {
  const int row = w.warp() % 4 * kWarpRows + w.lane() / 4;
  const std::uint32_t to = place.at + row * place.pitch + w.lane() % 4 * 8;
  const std::uint32_t below = to + 8 * place.pitch;
  const bool upper = row < place.m, lower = row + 8 < place.m;
#pragma unroll
  for (int u = 0; u < N / 8; ++u) {
    if (u >= units) break;
    if (upper) store_two(to + u * kColumns * 4, d[4 * u], d[4 * u + 1]);
    if (lower) store_two(below + u * kColumns * 4, d[4 * u + 2], d[4 * u + 3]);
  }
}

// The same with the rest of the norm. What rode along lies in the warp's last rows: the addends in
// the last, the factors in the one before if rows are centred.
template <int N, bool kCentred>
__device__ __forceinline__ void lay_normed(const SumsPlace& place, int units, const Where& w,
                                           const float (&d)[N / 2]) {
  const int in_warp = w.lane() / 4, row = w.warp() % 4 * place.kept + in_warp;
  const std::uint32_t to = place.at + row * place.pitch + w.lane() % 4 * 8;
  const std::uint32_t below = to + 8 * place.pitch;
  const int upper = row < place.m ? units : 0;
  const int lower = in_warp + 8 < place.kept && row + 8 < place.m ? units : 0;
  const float2 x = load_two(place.moments + row * 8), y = load_two(place.moments + row * 8 + 64);
  const int addends = 28 + w.lane() % 4, factors = addends - 4;
  auto all = [](float v, int lane) { return __shfl_sync(0xffffffffu, v, lane); };
#pragma unroll
  for (int u = 0; u < N / 8; ++u) {
    const float a = all(d[4 * u + 2], addends), b = all(d[4 * u + 3], addends);
    float2 above = make_float2(a, b), under = above;
    if constexpr (kCentred) {
      const float f = all(d[4 * u + 2], factors), g = all(d[4 * u + 3], factors);
      above = make_float2(fmaf(-x.y, f, a), fmaf(-x.y, g, b));
      under = make_float2(fmaf(-y.y, f, a), fmaf(-y.y, g, b));
    }
    if (u < upper) {
      store_two(to + u * kColumns * 4, fmaf(x.x, d[4 * u], above.x),
                fmaf(x.x, d[4 * u + 1], above.y));
    }
    if (u < lower) {
      store_two(below + u * kColumns * 4, fmaf(y.x, d[4 * u + 2], under.x),
                fmaf(y.x, d[4 * u + 3], under.y));
    }
  }
}

template <int N>
__device__ __forceinline__ void run_side(const SidePlan& plan, const SumsPlace& to, const Where& w,
                                         const Gate& gate, std::uint32_t inputs, int tile,
                                         const Ring& ring, Moments& moments) {
  float d[N / 2];
  multiply<N>(plan, inputs, tile, ring, d);
  if (to.normed()) moments.inbox.wait();
  gate.mark(5);
  team_sync();  // the inputs' place is free
  if (to.kept == kWarpRows - 1) {
    lay_normed<N, false>(to, plan.units, w, d);
  } else if (to.normed()) {
    lay_normed<N, true>(to, plan.units, w, d);
  } else {
    lay_down<N>(to, plan.units, w, d);
  }
}

// A side without inputs has nothing to add.
static __device__ __noinline__ void lay_zeros(int columns, int m, std::uint32_t to, int pitch) {
#pragma unroll 1
  for (int r = 0; r < m; ++r, to += pitch) {
#pragma unroll 1
    for (int c = threadIdx.x % 128; c < columns; c += 128) {
      asm volatile("st.shared.f32 [%0], %1;" ::"r"(to + c * 4), "f"(0.0f) : "memory");
    }
  }
}

// By the width that is wanted: few, since each is code of its own.
__device__ __forceinline__ void run_sides(const SidePlan& plan, int most_units, const SumsPlace& to,
                                          const Where& w, const Gate& gate, std::uint32_t inputs,
                                          int tile, const Ring& ring, Moments& moments) {
  if (plan.blocks == 0 || plan.units == 0) {
    if (to.normed()) moments.inbox.wait();
    team_sync();
    lay_zeros(plan.units * kColumns, to.m, to.at, to.pitch);
  } else if (most_units <= 6) {
    run_side<48>(plan, to, w, gate, inputs, tile, ring, moments);
  } else if (most_units <= 10) {
    run_side<80>(plan, to, w, gate, inputs, tile, ring, moments);
  } else {
    run_side<kMostColumns>(plan, to, w, gate, inputs, tile, ring, moments);
  }
}

// A warp's part of what is handed over: a source's sums of the rows that one CTA finishes. What
// it takes is known before the inputs are there. Of one warp's threads each would copy by turns.
struct Push {
  std::uint32_t to = 0, barrier = 0, from = 0, bytes = 0;

  __device__ __forceinline__ Push(const ProductPhase& p, const Work& work, const Where& w,
                                  std::uint32_t sums, const Results& results) {
    const int all = sharers(p), owner = w.warp() & all - 1, side = w.warp() >> p.share_log;
    if (side >= parts_of_inputs(p) || w.lane() > 0) return;
    const Share rows = share(p.m, owner, all);
    const int pitch = sums_pitch(work.units) * 4, rank = w.cta & all - 1;
    const int source = p.by_columns ? rank : rank * kSides + side, peer = w.place() - rank + owner;
    to = peer_address(results.address + source * most_finished(p) * pitch, peer);
    barrier = peer_address(results.inbox.barrier, peer);
    from = sums + (side * p.m + rows.first) * pitch;
    bytes = static_cast<std::uint32_t>(rows.count() * pitch);
  }
  __device__ __forceinline__ void operator()() const {
    fence_for_copies();
    team_sync();
    if (bytes) push_block(to, barrier, from, bytes);
  }
};

// Shared memory of a phase, and what threads keep from one to the next.
struct Desk {
  std::byte* region;
  Results& results;
  RowSums& row_sums;
  Moments& moments;
  const Tables& tables;
  Ring& ring;
};

__device__ __forceinline__ void run_product(const ProductPhase& p, const Work& work, const Where& w,
                                            const Gate& gate, const Desk& desk) {
  const std::uint32_t region = device::shared_address(desk.region);
  Results& results = desk.results;
  results.address = region + p.inbox;
  results.sums = reinterpret_cast<const float*>(desk.region + p.inbox);
  if (w.thread == 0) {
    results.inbox.expect(static_cast<std::uint32_t>(work.rows * sums_pitch(work.units) * 4) *
                         static_cast<std::uint32_t>(sources_of(p)));
  }
  const SidePlan plan(work, w.warp(), desk.ring);
  const int most_units = uniform(max(work.side[0].units, work.side[1].units));
  const int tile = row_tile_bytes(p), pitch = sums_pitch(work.units) * 4;
  const std::uint32_t inputs = region + p.inputs, sums = region + p.sums;
  const Push push(p, work, w, sums, results);
  SumsPlace to{sums + work.side[plan.side].first_unit * kColumns * 4, pitch, p.m, kept_rows(p),
               desk.moments.rows};
  if (!p.by_columns) to.at += plan.side * p.m * pitch;
  stage_inputs(p, w, work, gate, desk.row_sums, desk.tables, inputs);
  gate.mark(4);
  run_sides(plan, most_units, to, w, gate, inputs, tile, desk.ring, desk.moments);
  gate.mark(6);
  push();
  desk.ring.turn =
      desk.ring.turn.after(work.side[0].pieces + work.side[1].pieces, desk.ring.memory.depth);
  gate.mark(7);
  desk.tables.wait_operands();
  finish_product(p, w, gate, work, desk.region, results);
}

}  // namespace tendon::cuda::persistent
