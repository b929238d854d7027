#include "backends/cuda/counter.h"

namespace tendon::cuda {
namespace {

__global__ void set_kernel(int32_t* counter, int value) { *counter = value; }
__global__ void add_one_kernel(int32_t* counter) { ++*counter; }

}  // namespace

void launch_set(std::int32_t* counter, int value, cudaStream_t stream) noexcept {
  set_kernel<<<1, 1, 0, stream>>>(counter, value);
}

void launch_add_one(std::int32_t* counter, cudaStream_t stream) noexcept {
  add_one_kernel<<<1, 1, 0, stream>>>(counter);
}

}  // namespace tendon::cuda
