#include "server/latency.h"

#include <algorithm>
#include <numeric>

namespace tendon::server {

void LatencySeries::add(double ms) {
  if (window_.size() < kWindow) {
    window_.push_back(ms);
  } else {
    window_[count_ % kWindow] = ms;
  }
  ++count_;
  sum_ += ms;
  const auto bound = std::lower_bound(kBounds.begin(), kBounds.end(), ms);
  ++buckets_[static_cast<std::size_t>(bound - kBounds.begin())];
}

std::uint64_t LatencySeries::at_most(std::size_t bound) const {
  return std::accumulate(buckets_.begin(),
                         buckets_.begin() + static_cast<std::ptrdiff_t>(bound) + 1,
                         std::uint64_t{0});
}

}  // namespace tendon::server
