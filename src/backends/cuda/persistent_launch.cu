// Choosing and launching the step kernel.
#include "backends/cuda/persistent_attention.cuh"
#include "backends/cuda/persistent_kernel.h"

namespace tendon::cuda::persistent {
namespace {

StepKernel kernel_of(const StepShape& shape) {
  if (shape.heads == DType::f16) return half_step(shape.rows);
  return shape.head_width <= 128 ? narrow_step(shape.rows) : wide_step(shape.rows);
}

}  // namespace

int tiles_of(int rows) { return rows <= 16 ? 1 : rows <= 32 ? 2 : 4; }

int attention_bytes(int width) {
  return width <= 128 ? AttentionLayout<128>::kBytes : AttentionLayout<256>::kBytes;
}

cudaError_t launch_step(const StepArgs& args, const StepShape& shape, cudaStream_t stream) {
  cudaLaunchAttribute attributes[2];
  attributes[0].id = cudaLaunchAttributeClusterDimension;
  attributes[0].val.clusterDim = {kCluster, 1, 1};
  attributes[1].id = cudaLaunchAttributeCooperative;
  attributes[1].val.cooperative = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(shape.ctas));
  config.blockDim = dim3(kThreads);
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
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = kSharedBytes;
  config.attrs = &attribute;
  config.numAttrs = 1;
  int clusters = 0;
  status = cudaOccupancyMaxActiveClusters(&clusters, kernel, &config);
  shape.ctas = clusters * kCluster;
  return status;
}

}  // namespace tendon::cuda::persistent
