// Activations, in the accumulation type.
#pragma once

#include <cmath>

#include "ops/ops.h"

namespace tendon::reference {

template <class A>
A act(Act kind, A x) {
  switch (kind) {
    case Act::none:
      return x;
    case Act::gelu_tanh: {
      const A root = std::sqrt(A(2) / A(3.14159265358979323846));
      return A(0.5) * x * (A(1) + std::tanh(root * (x + A(0.044715) * x * x * x)));
    }
    case Act::gelu_erf:
      return A(0.5) * x * (A(1) + std::erf(x * std::sqrt(A(0.5))));
    case Act::silu:
      return x / (A(1) + std::exp(-x));
  }
  return x;
}

}  // namespace tendon::reference
