// A warp's stream of weights: packed tiles in the order of their use, copied ahead into a ring that
// the warp alone fills and drains.
#pragma once

#include "backends/cuda/device/bulk.cuh"
#include "backends/cuda/persistent_phase.h"

namespace tendon::cuda::persistent {

class Ring {
 public:
  __device__ Ring(std::byte* slots, std::uint64_t* full, const std::byte* source,
                  std::uint32_t pieces, std::uint32_t repetitions)
      : slots_(slots), full_(full), source_(source), pieces_(pieces), left_(pieces * repetitions) {
    policy_ = device::evict_first_policy();
  }

  __device__ void start() {
    for (int i = 0; i < kDepth; ++i) issue(i);
  }

  // The lane's share of the next tile: B fragments of two m16n8k16 products.
  __device__ __forceinline__ uint4 take() {
    if (tile_ == 0) device::barrier_wait(full_ + slot_, parity_);
    const uint4 v = reinterpret_cast<const uint4*>(slots_ + slot_ * kPiece +
                                                   tile_ * kTileBytes)[threadIdx.x % 32];
    if (++tile_ == kPieceTiles) finish_piece();
    return v;
  }

  // At the end of a step: what pads the last piece is skipped.
  __device__ __forceinline__ void finish_step() {
    if (tile_ != 0) finish_piece();
  }

 private:
  __device__ __forceinline__ void finish_piece() {
    __syncwarp();
    tile_ = 0;
    issue(slot_);
    if (++slot_ == kDepth) slot_ = 0, parity_ ^= 1;
  }

  __device__ __forceinline__ void issue(int slot) {
    if (left_ == 0) return;
    --left_;
    if (threadIdx.x % 32 == 0) {
      device::barrier_expect(full_ + slot, kPiece);
      device::bulk_copy(slots_ + slot * kPiece, source_ + std::size_t{next_} * kPiece, kPiece,
                        full_ + slot, policy_);
    }
    if (++next_ == pieces_) next_ = 0;
  }

  std::byte* slots_;
  std::uint64_t* full_;
  const std::byte* source_;
  std::uint32_t pieces_, left_, next_ = 0, parity_ = 0;
  int slot_ = 0, tile_ = 0;
  std::uint64_t policy_;
};

}  // namespace tendon::cuda::persistent
