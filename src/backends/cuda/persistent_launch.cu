// Choosing and launching the step kernel.
#include <algorithm>

#include "backends/cuda/persistent_attention_unit.cuh"
#include "backends/cuda/persistent_kernel.h"
#include "backends/cuda/persistent_memory.cuh"
#include "backends/cuda/persistent_plain.cuh"

namespace tendon::cuda::persistent {
namespace {

StepKernel kernel_of(const StepShape& shape) {
  if (shape.heads == DType::f16) return half_step();
  return shape.head_width <= 128 ? narrow_step() : wide_step();
}

}  // namespace

int attention_bytes(int width) {
  return width <= 128 ? AttentionLayout<128>::kBytes : AttentionLayout<256>::kBytes;
}
int attention_early_bytes(int width) {
  return width <= 128 ? AttentionLayout<128>::kEarly : AttentionLayout<256>::kEarly;
}
int attention_results_at(int width) {
  return width <= 128 ? AttentionLayout<128>::kResults : AttentionLayout<256>::kResults;
}
int plain_bytes() { return kPlainBytes; }
int fixed_bytes() { return kFixedBytes; }

int attention_units(const AttentionArgs& a) {
  const int group = a.rows * (a.heads / a.key_heads), rows = attention_unit_rows(a);
  return (group + rows - 1) / rows * a.key_heads * a.batch;
}

cudaError_t launch_step(const StepArgs& args, const StepShape& shape, cudaStream_t stream) {
  cudaLaunchAttribute attributes[2];
  attributes[0].id = cudaLaunchAttributeClusterDimension;
  attributes[0].val.clusterDim = {kCluster, 1, 1};
  attributes[1].id = cudaLaunchAttributeCooperative;
  attributes[1].val.cooperative = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(shape.ctas));
  config.blockDim = dim3(kAllThreads);
  config.dynamicSmemBytes = kSharedBytes;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = 2;
  return cudaLaunchKernelEx(&config, kernel_of(shape), args);
}

cudaError_t fit_step(StepShape& shape) {
  const StepKernel kernel = kernel_of(shape);
  cudaError_t status =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes);
  if (status != cudaSuccess) return status;
  cudaLaunchAttribute attribute;
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim = {kCluster, 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(kCluster);
  config.blockDim = dim3(kAllThreads);
  config.dynamicSmemBytes = kSharedBytes;
  config.attrs = &attribute;
  config.numAttrs = 1;
  int clusters = 0;
  status = cudaOccupancyMaxActiveClusters(&clusters, kernel, &config);
  shape.ctas = std::min(clusters * kCluster, kMostGroups * kSharers);
  return status;
}

}  // namespace tendon::cuda::persistent
