// Unfolding of a convolution's input: one row of kernel_y * kernel_x * channels values a pixel.
#pragma once

#include <cuda_runtime.h>

#include "backends/cuda/device/rows.cuh"

namespace tendon::cuda {

struct UnfoldArgs {
  device::Strided x;  // [B, Y, X, C]
  int height = 0, width = 0, channels = 0, out_height = 0, out_width = 0;
  int kernel_y = 1, kernel_x = 1, stride = 1, top = 0, left = 0;
  std::int64_t pixels = 0, row = 0;  // of out; elements of an unfolded row
  DType dtype = DType::bf16;         // of the unfolded rows
};

void launch_unfold(const UnfoldArgs& args, void* out, int vector, cudaStream_t stream);

}  // namespace tendon::cuda
