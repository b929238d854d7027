#include "backends/cuda/gemm_check.h"

#include "backends/cuda/device/numeric.cuh"

namespace tendon::cuda {
namespace {

__device__ uint32_t mix(uint32_t x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  return x ^ (x >> 16);
}

__global__ void fill_kernel(void* data, size_t count, DType dtype) {
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < count;
       i += size_t{gridDim.x} * blockDim.x) {
    const float u = static_cast<float>(mix(static_cast<uint32_t>(i)) >> 8) * 0x1p-23f - 1.0f;
    device::store(data, static_cast<int64_t>(i), dtype, u);
  }
}

constexpr int kSamples = 512;

// One warp a sample. Bound: rounding of the output plus that of a sum of k terms in fp32.
__global__ void check_kernel(GemmSample s, int* wrong) {
  const int sample = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
  if (sample >= kSamples) return;
  const uint32_t h = mix(static_cast<uint32_t>(sample) * 2654435761u + 17u);
  const int b = static_cast<int>(h % s.batches), row = static_cast<int>((h >> 7) % s.m);
  const int column = static_cast<int>(mix(h) % s.n);
  float sum = 0, magnitude = 0;
  for (int k = lane; k < s.k; k += 32) {
    const float x = device::load(s.x, b * s.x_batch + row * s.x_stride + k, s.in);
    const float w = device::load(s.weight, int64_t{column} * s.k + k, s.in);
    sum = fmaf(x, w, sum);
    magnitude += fabsf(x * w);
  }
  sum = device::warp_sum(sum);
  magnitude = device::warp_sum(magnitude);
  if (lane != 0) return;
  if (s.bias) sum += device::load(s.bias, column, s.out_dtype);
  if (s.gelu) sum = device::curve(device::Curve::gelu_tanh, sum);
  if (s.residual) {
    const float r = device::load(
        s.residual, b * s.residual_batch + row * s.residual_stride + column, s.out_dtype);
    sum += r;
    magnitude += fabsf(r);
  }
  const float out = device::load(s.out, b * s.out_batch + row * s.out_stride + column, s.out_dtype);
  const float rounding = s.out_dtype == DType::bf16 ? 0x1p-7f : 0x1p-20f;
  const float bound = rounding * fabsf(sum) + 1e-5f * magnitude + 1e-3f * s.gelu;
  if (!(fabsf(out - sum) <= bound)) atomicAdd(wrong, 1);
}

}  // namespace

void fill_random(void* data, std::size_t bytes, DType dtype, cudaStream_t stream) {
  fill_kernel<<<528, 256, 0, stream>>>(data, bytes / size_of(dtype), dtype);
}

bool check_gemm(const GemmSample& sample, void* verdict, cudaStream_t stream) {
  int wrong = -1;
  cudaMemsetAsync(verdict, 0, sizeof(int), stream);
  check_kernel<<<kSamples / 8, 256, 0, stream>>>(sample, static_cast<int*>(verdict));
  cudaMemcpyAsync(&wrong, verdict, sizeof(int), cudaMemcpyDeviceToHost, stream);
  return cudaStreamSynchronize(stream) == cudaSuccess && wrong == 0;
}

}  // namespace tendon::cuda
