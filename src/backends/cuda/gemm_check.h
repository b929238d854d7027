// Evidence about a product: random operands, and sampled elements recomputed plainly.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "base/dtype.h"

namespace tendon::cuda {

struct GemmSample {
  const void* x;
  const void* weight;
  const void* bias;
  const void* residual;
  const void* out;
  int m = 0, n = 0, k = 0, batches = 1;
  std::int64_t x_stride = 0, x_batch = 0, out_stride = 0, out_batch = 0;
  std::int64_t residual_stride = 0, residual_batch = 0;
  DType in = DType::bf16, out_dtype = DType::bf16;
  bool gelu = false;
};

// Uniform in [-1, 1), element by element, in f32 or bf16.
void fill_random(void* data, std::size_t bytes, DType dtype, cudaStream_t stream);

// Whether every sampled element lies within rounding of its plain sum. `verdict`: 4 bytes of the
// device. Waits for the stream.
bool check_gemm(const GemmSample& sample, void* verdict, cudaStream_t stream);

}  // namespace tendon::cuda
