// What the two norms share: out = n * (1 + scale) + shift.
#pragma once

#include "backends/reference/planner.h"

namespace tendon::reference {

struct Modulation {
  Table scale, shift;

  template <class A>
  void apply(std::int64_t r, std::vector<A>& n) const {
    std::vector<A> row(n.size());
    const std::int64_t width = static_cast<std::int64_t>(n.size());
    if (scale) {
      scale.load(r, 0, width, row.data());
      for (std::size_t i = 0; i < n.size(); ++i) n[i] *= A(1) + row[i];
    }
    if (shift) {
      shift.load(r, 0, width, row.data());
      for (std::size_t i = 0; i < n.size(); ++i) n[i] += row[i];
    }
  }
};

}  // namespace tendon::reference
