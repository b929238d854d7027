// Activations where they are applied to millions of elements: the same functions, inlined, by the
// device's own exponential (errors near 1e-6).
#pragma once

#include "backends/cuda/device/numeric.cuh"

namespace tendon::cuda::device {

__device__ inline float fast_curve(Curve curve, float x) {
  if (curve == Curve::gelu_tanh) {  // x / 2 (1 + tanh(u / 2)) = x / (1 + exp(-u))
    const float u = 1.5957691216057308f * (x + 0.044715f * x * x * x);
    return __fdividef(x, 1.0f + __expf(-u));
  }
  if (curve == Curve::silu) return __fdividef(x, 1.0f + __expf(-x));
  return curve == Curve::none ? x : device::curve(curve, x);
}

}  // namespace tendon::cuda::device
