// Ordering between the CTAs of a kernel whose CTAs are all resident.
#pragma once

#include <stdint.h>

namespace tendon::cuda::device {

__device__ inline void arrive(uint32_t* counter) {
  asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(counter) : "memory");
}

// Until the counter, which only grows and may wrap, has reached `target`.
__device__ inline void wait_for(const uint32_t* counter, uint32_t target) {
  uint32_t value;
  do {
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(counter) : "memory");
  } while (static_cast<int32_t>(value - target) < 0);
}

}  // namespace tendon::cuda::device
