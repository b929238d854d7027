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
// execution. A value's memory is left alone for `rest` ops after its last use.
ArenaPlan plan_arena(const Trace& trace, std::size_t rest = 0);

}  // namespace tendon
