// The median of a sample.
#pragma once

#include <algorithm>
#include <span>

namespace tendon {

// By nearest rank: of an even number the lower of the middle two. Reorders the values, of which
// there is one at least.
inline double median(std::span<double> values) {
  const auto middle = values.begin() + (std::ssize(values) - 1) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace tendon
