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
  if (shape.head_width <= 128) return narrow_step();
  return shape.unit_rows <= kFewRows ? few_step() : wide_step();
}

template <int D, int R>
AttentionPlaces places() {
  using L = AttentionLayout<D, R>;
  return {L::kBytes, L::kEarly, L::kResults};
}

}  // namespace

AttentionPlaces attention_places(int width, int rows) {
  if (width <= 128) return places<128, kManyRows>();
  return rows <= kFewRows ? places<256, kFewRows>() : places<256, kManyRows>();
}
int plain_bytes() { return kPlainBytes; }
int fixed_bytes() { return kFixedBytes; }

AttentionUnits attention_units(const AttentionArgs& a) {
  const int group = a.rows * (a.heads / a.key_heads), rows = attention_unit_rows(a);
  return {(group + rows - 1) / rows * a.key_heads * a.batch, rows};
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
