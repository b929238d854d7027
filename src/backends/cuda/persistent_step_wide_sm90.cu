// The step kernel with attention over bf16 heads of up to 256.
#include "backends/cuda/persistent_kernel.h"

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
#include "backends/cuda/persistent_kernel_sm90.cuh"
#else
#include "backends/cuda/persistent_kernel_absent.cuh"
#endif

namespace tendon::cuda::persistent {

StepKernel wide_step(int rows) {
  return rows <= 16   ? step_kernel<1, __nv_bfloat16, 256>
         : rows <= 32 ? step_kernel<2, __nv_bfloat16, 256>
                      : step_kernel<4, __nv_bfloat16, 256>;
}

}  // namespace tendon::cuda::persistent
