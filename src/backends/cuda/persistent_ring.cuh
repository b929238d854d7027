// A CTA's stream of weights: one warp copies pieces ahead into a ring, in the order of their use;
// each is read by one warpgroup.
#pragma once

#include "backends/cuda/persistent_memory.cuh"
#include "backends/cuda/persistent_team.cuh"

namespace tendon::cuda::persistent {

// A slot, and the parity of what arrives there next.
struct Turn {
  int slot = 0;
  std::uint32_t parity = 0;
  __device__ __forceinline__ Turn after(int pieces, int depth) const {
    const int sum = slot + pieces, laps = sum / depth;
    return {sum - laps * depth, parity ^ (laps & 1u)};
  }
  // Of at most `depth` pieces.
  __device__ __forceinline__ Turn soon(int pieces, int depth) const {
    const int sum = slot + pieces;
    const bool lap = sum >= depth;
    return {lap ? sum - depth : sum, parity ^ static_cast<std::uint32_t>(lap)};
  }
};

// Asks the L2 for pieces some way ahead of those that are copied: memory is idle while phases wait,
// and what the ring cannot hold comes faster from there. The stream begins anew when it ends.
struct Ahead {
  const std::byte *begin, *from;
  const std::uint16_t* rows;
  std::uint32_t count, next = 0;

  __device__ __forceinline__ Ahead(const StepArgs& a, int cta)
      : begin(a.stream + a.stream_first[cta]),
        from(begin),
        rows(a.piece_rows + std::size_t(cta) * a.piece_stride),
        count(a.piece_count[cta]) {
    for (int bytes = 0; bytes < kAheadBytes;) bytes += ask();
  }
  __device__ __forceinline__ int ask() {
    const int bytes = rows[next] * kRowBytes;
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
    from += bytes;
    if (++next == count) next = 0, from = begin;
    return bytes;
  }
};

// By one thread: all pieces of all repetitions.
__device__ inline void bring_weights(const StepArgs& a, const RingMemory& m, int cta) {
  const std::uint64_t policy = device::evict_first_policy();
  const std::byte* begin = a.stream + a.stream_first[cta];
  const std::uint16_t* rows = a.piece_rows + std::size_t(cta) * a.piece_stride;
  const std::uint32_t count = a.piece_count[cta];
  if (count == 0) return;
  Ahead ahead(a, cta);
  Turn now{0, 1};
  for (int repetition = 0; repetition < a.repetitions; ++repetition) {
    const std::byte* from = begin;
    int bytes = rows[0] * kRowBytes;
    for (std::uint32_t i = 0; i < count; ++i) {
      const int next = rows[i + 1];  // one more is there
      device::barrier_wait(m.empty + now.slot * 8, now.parity);
      device::barrier_expect(m.full + now.slot * 8, bytes);
      device::bulk_copy(m.slots + now.slot * m.slot_bytes, from, bytes, m.full + now.slot * 8,
                        policy);
      from += bytes, bytes = next * kRowBytes;
      now = now.soon(1, m.depth);
      ahead.ask();
    }
  }
}

// The ring as a warpgroup reads it.
struct Ring {
  RingMemory memory;
  Turn turn;  // where a phase's pieces begin

  // The address at which the piece has arrived.
  __device__ __forceinline__ std::uint32_t wait(const Turn& t) const {
    device::barrier_wait(memory.full + t.slot * 8, t.parity);
    return memory.slots + t.slot * memory.slot_bytes;
  }
  // By every warp of its side.
  __device__ __forceinline__ void release(const Turn& t) const {
    if (threadIdx.x % 32 == 0) arrive_here(memory.empty + t.slot * 8);
  }
};

}  // namespace tendon::cuda::persistent
