#include <cuda_runtime.h>

#include "backends/cuda/device/wgmma.cuh"
#include "backends/cuda/probe.h"

namespace tendon::cuda {
namespace {

__global__ void probe() {}

// Holds shared memory where a warpgroup's instructions were compiled.
__global__ void warpgroup_probe(int* out) {
#if TENDON_WGMMA
  __shared__ int marker[4];
  marker[threadIdx.x % 4] = static_cast<int>(clock());
  __syncthreads();
  *out = marker[0];
#endif
}

}  // namespace

bool has_device_code() {
  cudaFuncAttributes attributes;
  const bool found = cudaFuncGetAttributes(&attributes, probe) == cudaSuccess;
  cudaGetLastError();
  return found;
}

bool has_warpgroup_code() {
  cudaFuncAttributes attributes;
  const bool found = cudaFuncGetAttributes(&attributes, warpgroup_probe) == cudaSuccess &&
                     attributes.sharedSizeBytes > 0;
  cudaGetLastError();
  return found;
}

}  // namespace tendon::cuda
