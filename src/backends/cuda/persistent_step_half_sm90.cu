// The step kernel with attention over f16 heads of up to 128.
#include "backends/cuda/persistent_kernel.h"

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
#include "backends/cuda/persistent_kernel_sm90.cuh"
#else
#include "backends/cuda/persistent_kernel_absent.cuh"
#endif

namespace tendon::cuda::persistent {

StepKernel half_step(int rows) {
  return rows <= 16   ? step_kernel<1, __half, 128>
         : rows <= 32 ? step_kernel<2, __half, 128>
                      : step_kernel<4, __half, 128>;
}

}  // namespace tendon::cuda::persistent
