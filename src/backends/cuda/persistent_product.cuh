// The product phase. The CTAs of a cluster share a product's inputs, each has a quarter of them for
// all of the cluster's columns; its two warpgroups share the columns, or the inputs again. Partial
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

// d[64, N] = the CTA's rows times a side's columns; untouched where the side has nothing to do.
template <int N>
__device__ __forceinline__ void multiply(const Work& w, int side, std::uint32_t inputs, int tile,
                                         const Ring& ring, float (&d)[N / 2]) {
  const int most = uniform(w.piece_blocks), both = uniform(w.side[0].pieces);
  const int depth = ring.memory.depth,
            column_tile = uniform(w.side[side].units) * kColumns * kRowBytes;
  const int blocks = uniform(w.side[side].blocks);
  std::uint32_t rows = inputs + w.side[side].first_block * tile;
  Turn now = ring.turn.soon(both > 0 ? side : 0, depth);
  std::uint32_t columns = ring.wait(now);
  multiply_tile<N>(rows, columns, 0, d);
#pragma unroll 1
  for (int b = 1, j = 0, in_piece = 1; b < blocks; ++b) {
    const Turn before = now;
    const bool next = in_piece == most;
    if (next) {
      now = now.soon(j + 1 < both ? 2 : j < both ? 2 - side : 1, depth);
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

// Where partial sums of a row come from and go to.
struct Results {
  Inbox inbox;
  std::uint32_t address;  // the same in every CTA: floats [source][row of the CTA][column]
};

// A side's sums to shared memory: floats [row][column of the cluster].
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

template <int N>
__device__ __forceinline__ void run_side(const ProductPhase& p, const Work& work, const Where& w,
                                         const Gate& gate, std::uint32_t inputs, const Ring& ring) {
  const int side = uniform(w.warp() / 4), units = uniform(work.side[side].units);
  const int pitch = work.units * kColumns * 4;
  std::uint32_t to = inputs + work.side[side].first_unit * kColumns * 4;
  if (!p.by_columns) to += side * p.m * pitch;
  if (uniform(work.side[side].pieces) == 0) {  // no inputs: nothing to add
    team_sync();
    for (int i = w.thread % 128; i < p.m * units * kColumns; i += 128) {
      const int r = i / (units * kColumns);
      asm volatile("st.shared.f32 [%0], %1;" ::"r"(to + r * pitch + (i - r * units * kColumns) * 4),
                   "f"(0.0f)
                   : "memory");
    }
    return;
  }
  float d[N / 2];
  multiply<N>(work, side, inputs, row_tile_bytes(p), ring, d);
  gate.mark(5);
  team_sync();  // the inputs' place is free
  lay_down<N>(p.m, units, w, to, pitch, d);
}

// To the CTAs that finish the rows.
__device__ __forceinline__ void hand_over(const ProductPhase& p, const Work& work, const Where& w,
                                          std::uint32_t sums, const Results& results) {
  fence_for_copies();
  team_sync();
  const int owner = w.thread % kCluster, side = w.thread / kCluster;
  if (w.thread >= kCluster * (p.by_columns ? 1 : kSides)) return;
  const Share rows = share(p.m, owner, kCluster);
  const int pitch = work.units * kColumns * 4, bytes = rows.count() * pitch;
  const int source = p.by_columns ? w.rank : w.rank * kSides + side;
  const int most = (p.m + kCluster - 1) / kCluster;
  if (bytes == 0) return;
  push_block(peer_address(results.address + source * most * pitch, owner),
             peer_address(results.inbox.barrier, owner), sums + (side * p.m + rows.first) * pitch,
             bytes);
}

// By the width that is wanted: few, since each is code of its own.
__device__ __forceinline__ void run_sides(const ProductPhase& p, const Work& work, const Where& w,
                                          const Gate& gate, std::uint32_t inputs,
                                          const Ring& ring) {
  const int columns = uniform(max(work.side[0].units, work.side[1].units)) * kColumns;
  if (columns <= 48) {
    run_side<48>(p, work, w, gate, inputs, ring);
  } else if (columns <= 96) {
    run_side<96>(p, work, w, gate, inputs, ring);
  } else {
    run_side<kMostColumns>(p, work, w, gate, inputs, ring);
  }
}

// Shared memory of a phase.
struct Desk {
  std::uint32_t inputs;     // shared address of the region
  float* partial;           // of what is handed over to this CTA
  std::int32_t* positions;  // of the rows of a product with a rotation
  Results& results;
  RowSums& row_sums;
  Ring& ring;
};

// Positions of the rows, for a rotation: in shared memory before the phase may begin.
__device__ __forceinline__ void stage_positions(const ProductPhase& p, int m, int32_t* positions) {
  const int count = p.rotation.position_count;
  if (p.columns == Columns::pairs && p.rotation.cos && m < p.m) {
    positions[m] = p.rotation.positions[m < count ? m : m % count];
  }
}

__device__ __forceinline__ void run_product(const ProductPhase& p, const Work& work, const Where& w,
                                            const Gate& gate, const Desk& desk) {
  Results& results = desk.results;
  results.address = desk.inputs + p.inbox;
  float* partial = desk.partial + p.inbox / 4;
  if (w.thread == 0) {
    results.inbox.expect(
        static_cast<std::uint32_t>(work.rows * work.units * kColumns * 4 * work.sources));
  }
  stage_positions(p, w.thread, desk.positions);
  stage_inputs(p, w, work, gate, desk.row_sums, desk.inputs);
  gate.mark(4);
  run_sides(p, work, w, gate, desk.inputs, desk.ring);
  gate.mark(6);
  hand_over(p, work, w, desk.inputs, results);
  desk.ring.turn =
      desk.ring.turn.after(work.side[0].pieces + work.side[1].pieces, desk.ring.memory.depth);
  gate.mark(7);
  finish_product(p, w, gate, work, desk.positions, partial, results.inbox);
}

}  // namespace tendon::cuda::persistent
