// Codes of Act for device code, which includes nothing but base.
#pragma once

#include <stdint.h>

namespace tendon::cuda::device {

enum class Curve : uint8_t { none, gelu_tanh, gelu_erf, silu };

}  // namespace tendon::cuda::device
