// Launches that may overlap with the end of the kernel before, for kernels that wait by themselves
// (wait_for_predecessors) before they touch what others wrote or read.
#pragma once

#include <cuda_runtime.h>

#include <utility>

#include "backends/cuda/context.h"

namespace tendon::cuda {

// Whether the current device lets a kernel start before its predecessor has ended (sm_90 on).
bool overlapping_launches();

struct LaunchShape {
  dim3 grid;
  unsigned threads = 256;
  std::size_t shared = 0;
  unsigned cluster = 1;  // CTAs along x that run together
};

template <class... P, class... A>
void launch(void (*kernel)(P...), const LaunchShape& shape, cudaStream_t stream, A&&... args) {
  cudaLaunchAttribute attributes[2] = {};
  unsigned count = 0;
  if (overlapping_launches()) {
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (shape.cluster > 1) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count].val.clusterDim.x = shape.cluster;
    attributes[count].val.clusterDim.y = attributes[count].val.clusterDim.z = 1;
    ++count;
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = dim3(shape.threads);
  config.dynamicSmemBytes = shape.shared;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = count;
  check(cudaLaunchKernelEx(&config, kernel, std::forward<A>(args)...), "launching a kernel");
}

}  // namespace tendon::cuda
