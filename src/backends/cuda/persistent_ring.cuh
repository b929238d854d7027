// A warp's stream of weights: packed tiles in the order of their use, copied ahead into a ring that
// the warp alone fills and drains.
#pragma once

#include "backends/cuda/device/bulk.cuh"
#include "backends/cuda/persistent_phase.h"

namespace tendon::cuda::persistent {

// A ring between phases: in shared memory, so that phases without weights have the registers.
struct alignas(16) RingState {
  const std::byte* source;     // the warp's stream
  const std::uint8_t* table;   // tiles of each piece
  std::uint32_t slots, full;   // shared addresses: of the ring, of its barriers
  std::uint32_t count, left;   // pieces of a step; of all steps that are not asked for yet
  std::uint32_t next, offset;  // the piece to ask for next: its number, its first byte
  std::uint32_t tiles;         // its tiles
  std::uint32_t slot, parity;  // to be read next
  std::uint32_t depth;
};
static_assert(sizeof(RingState) == 64);

class Ring {
 public:
  __device__ Ring(const RingState& state, int lane) : s_(state), lane_(lane) {
    policy_ = device::evict_first_policy();
  }

  // `stream`: CTA * warps + warp.
  __device__ static RingState begin(const StepArgs& a, const std::byte* slots,
                                    const std::uint64_t* full, int stream) {
    RingState s;
    s.source = a.stream + std::size_t{a.stream_first[stream]} * kTileBytes;
    s.table = a.piece_tiles + std::size_t(stream) * a.piece_stride;
    s.slots = device::shared_address(slots), s.full = device::shared_address(full);
    s.count = a.piece_count[stream];
    s.left = s.count * static_cast<std::uint32_t>(a.repetitions);
    s.next = s.offset = s.slot = s.parity = 0;
    s.tiles = s.table[0];
    s.depth = static_cast<std::uint32_t>(a.depth);
    return s;
  }
  __device__ void start() {
    for (std::uint32_t i = 0; i < s_.depth; ++i) issue(i);
  }
  __device__ __forceinline__ void save(RingState& to) const {
    if (lane_ == 0) to = s_;
    __syncwarp();
  }

  // The lane's share of the next piece; it stays until release().
  __device__ __forceinline__ std::uint32_t wait() {
    device::barrier_wait(s_.full + s_.slot * 8, s_.parity);
    return s_.slots + s_.slot * kSlotBytes + lane_ * 16;
  }
  __device__ __forceinline__ void release() {
    __syncwarp();
    issue(s_.slot);
    if (++s_.slot == s_.depth) s_.slot = 0, s_.parity ^= 1;
  }

 private:
  __device__ __forceinline__ void issue(std::uint32_t slot) {
    if (s_.left == 0) return;
    --s_.left;
    const std::uint32_t bytes = s_.tiles * kTileBytes;
    if (lane_ == 0) {
      const std::uint32_t full = s_.full + slot * 8;
      device::barrier_expect(full, bytes);
      device::bulk_copy(s_.slots + slot * kSlotBytes, s_.source + s_.offset, bytes, full, policy_);
    }
    s_.offset += bytes;
    if (++s_.next == s_.count) s_.next = 0, s_.offset = 0;
    s_.tiles = s_.table[s_.next];
  }

  RingState s_;
  int lane_;
  std::uint64_t policy_;
};

__device__ __forceinline__ uint4 load_tile(std::uint32_t address) {
  uint4 v;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(address));
  return v;
}

}  // namespace tendon::cuda::persistent
