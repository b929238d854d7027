#include <cuda_runtime.h>

#include "backends/cuda/probe.h"

namespace tendon::cuda {
namespace {

__global__ void probe() {}

}  // namespace

bool has_device_code() {
  cudaFuncAttributes attributes;
  const bool found = cudaFuncGetAttributes(&attributes, probe) == cudaSuccess;
  cudaGetLastError();
  return found;
}

}  // namespace tendon::cuda
