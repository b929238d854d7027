// The step kernel with attention over f16 heads of up to 128.
#include "backends/cuda/persistent_kernel.h"

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#include "backends/cuda/persistent_kernel_sm90.cuh"
#else
#include "backends/cuda/persistent_kernel_absent.cuh"
#endif

namespace tendon::cuda::persistent {

StepKernel half_step() { return step_kernel<__half, 128, kManyRows>; }

}  // namespace tendon::cuda::persistent
