// In place of the step kernel where the architecture has no warpgroups: never launched.
#pragma once

#include "backends/cuda/persistent_kernel.h"

namespace tendon::cuda::persistent {

template <class T, int D, int R>
__global__ void step_kernel(const __grid_constant__ StepArgs) {
  __trap();
}

}  // namespace tendon::cuda::persistent
