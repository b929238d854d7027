// Shared memory of a CTA of the step kernel: region, ring of weights, the rest.
#pragma once

#include "backends/cuda/device/mma.cuh"
#include "backends/cuda/persistent_phase.h"

namespace tendon::cuda::persistent {

// What a norm leaves to do to a column once mean and deviation are known: x * factor + addend.
struct alignas(16) Affine {
  float factor[kNormBlocks * kBlock], addend[kNormBlocks * kBlock];
};

struct RingMemory {
  std::uint32_t slots, full, empty;  // shared addresses: of the slots, of their barriers
  int depth, slot_bytes;
};

// Shared memory beside region and ring: its end, whose addresses are constants.
struct alignas(128) Fixed {
  std::byte phase[kPhaseSlots][kPhaseBytes];
  Work work[kPhaseSlots];
  float2 row_sums[kSharers * kMostRows];
  Affine affine[2];
  float2 moments[kMostRows];  // 1 / deviation of a row, its mean times that
  std::int32_t positions[kMostRows];
  std::uint64_t full[kMostDepth], empty[kMostDepth];
  std::uint64_t results, sums, meeting, gate, begun, tables, operands, norms;  // barriers
  std::int32_t now;  // the iteration, for phases that read it from memory
};

inline constexpr int kFixedBytes = (sizeof(Fixed) + 1023) / 1024 * 1024;
// Behind the ring: a warpgroup multiplies 48 or 96 columns, and reads past a slot that has fewer.
static_assert(kFixedBytes >= (kMostColumns - kColumns) * kRowBytes);

struct Memory {
  std::byte* region;
  Fixed* fixed;
  RingMemory ring;
};

__device__ inline Memory layout(const StepArgs& a, std::byte* memory) {
  Memory m;
  m.fixed = reinterpret_cast<Fixed*>(memory + (kSharedBytes - kFixedBytes));
  m.region = memory;
  std::byte* ring = memory + a.region;
  m.ring = {device::shared_address(ring), device::shared_address(m.fixed->full),
            device::shared_address(m.fixed->empty), a.depth, a.slot};
  return m;
}

}  // namespace tendon::cuda::persistent
