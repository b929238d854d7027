// The product phase. The CTAs of a group share a product's inputs, each has a quarter of them for
// all of the group's columns; its two warpgroups share the columns, or the inputs again. Partial
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

// A side's sums to shared memory: floats [row][column of the group].
template <int N>
__device__ __forceinline__ void lay_down(int m, int units, const Where& w, std::uint32_t to,
                                         int pitch, const float (&d)[N / 2]) {
  const int row = w.warp() % 4 * 16 + w.lane() / 4;
  to += row * pitch + w.lane() % 4 * 8;
  const bool upper = row < m, lower = row + 8 < m;
#pragma unroll
  for (int u = 0; u < N / 8; ++u) {
    if (u >= units) break;
    if (upper) {
      asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(to + u * kColumns * 4), "f"(d[4 * u]),
                   "f"(d[4 * u + 1]));
    }
    if (lower) {
      asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(to + 8 * pitch + u * kColumns * 4),
                   "f"(d[4 * u + 2]), "f"(d[4 * u + 3]));
    }
  }
}

// Where a warpgroup's sums go.
struct SumsPlace {
  std::uint32_t at;  // shared address
  int pitch, m;
};

template <int N>
__device__ __forceinline__ void run_side(const SidePlan& plan, const SumsPlace& to, const Where& w,
                                         const Gate& gate, std::uint32_t inputs, int tile,
                                         const Ring& ring) {
  float d[N / 2];
  multiply<N>(plan, inputs, tile, ring, d);
  gate.mark(5);
  team_sync();  // the inputs' place is free
  lay_down<N>(to.m, plan.units, w, to.at, to.pitch, d);
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
                                          int tile, const Ring& ring) {
  if (plan.blocks == 0 || plan.units == 0) {
    team_sync();
    lay_zeros(plan.units * kColumns, to.m, to.at, to.pitch);
  } else if (most_units <= 6) {
    run_side<48>(plan, to, w, gate, inputs, tile, ring);
  } else if (most_units <= 12) {
    run_side<96>(plan, to, w, gate, inputs, tile, ring);
  } else {
    run_side<kMostColumns>(plan, to, w, gate, inputs, tile, ring);
  }
}

// A thread's part of what is handed over: a source's sums of the rows that one CTA finishes. What
// it takes is known before the inputs are there.
struct Push {
  std::uint32_t to = 0, barrier = 0, from = 0, bytes = 0;

  __device__ __forceinline__ Push(const ProductPhase& p, const Work& work, const Where& w,
                                  std::uint32_t sums, const Results& results) {
    const int owner = w.thread % kSharers, side = w.thread / kSharers;
    if (w.thread >= kSharers * (p.by_columns ? 1 : kSides)) return;
    const Share rows = share(p.m, owner, kSharers);
    const int pitch = work.units * kColumns * 4, most = (p.m + kSharers - 1) / kSharers;
    const int source = p.by_columns ? w.rank : w.rank * kSides + side;
    to = peer_address(results.address + source * most * pitch, w.sharer(owner));
    barrier = peer_address(results.inbox.barrier, w.sharer(owner));
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
    results.inbox.expect(static_cast<std::uint32_t>(work.rows * work.units * kColumns * 4) *
                         static_cast<std::uint32_t>(p.by_columns ? kSharers : kSharers * kSides));
  }
  const SidePlan plan(work, w.warp(), desk.ring);
  const int most_units = uniform(max(work.side[0].units, work.side[1].units));
  const int tile = row_tile_bytes(p), pitch = work.units * kColumns * 4;
  const std::uint32_t inputs = region + p.inputs, sums = region + p.sums;
  const Push push(p, work, w, sums, results);
  SumsPlace to{sums + work.side[plan.side].first_unit * kColumns * 4, pitch, p.m};
  if (!p.by_columns) to.at += plan.side * p.m * pitch;
  stage_inputs(p, w, work, gate, desk.row_sums, desk.tables, inputs);
  gate.mark(4);
  run_sides(plan, most_units, to, w, gate, inputs, tile, desk.ring);
  gate.mark(6);
  push();
  desk.ring.turn =
      desk.ring.turn.after(work.side[0].pieces + work.side[1].pieces, desk.ring.memory.depth);
  gate.mark(7);
  desk.tables.wait_operands();
  finish_product(p, w, gate, work, desk.region, results);
}

}  // namespace tendon::cuda::persistent
