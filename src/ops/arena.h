// Addresses for intermediates: values whose lifetimes do not overlap share memory.
#pragma once

#include <cstddef>
#include <vector>

#include "ops/trace.h"

namespace tendon {

struct ArenaPlan {
  static constexpr std::size_t kAlignment = 256;
  std::size_t bytes = 0;
  std::vector<std::size_t> offset;  // by value id; of roots of kind intermediate only
};

// Tapped values live to the end where the program records taps. The ops' order is the order of
// execution.
ArenaPlan plan_arena(const Trace& trace);

}  // namespace tendon
