// The repetition counter that a captured step reads and advances.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace tendon::cuda {

void launch_set(std::int32_t* counter, int value, cudaStream_t stream) noexcept;
void launch_add_one(std::int32_t* counter, cudaStream_t stream) noexcept;

}  // namespace tendon::cuda
