// The step kernel with attention over bf16 heads of up to 256, where rows are few.
#include "backends/cuda/persistent_kernel.h"

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#include "backends/cuda/persistent_kernel_sm90.cuh"
#else
#include "backends/cuda/persistent_kernel_absent.cuh"
#endif

namespace tendon::cuda::persistent {

StepKernel few_step() { return step_kernel<__nv_bfloat16, 256, kFewRows>; }

}  // namespace tendon::cuda::persistent
