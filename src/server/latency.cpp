#include "server/latency.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace tendon::server {

double nearest_rank(std::span<const double> sorted, double percent) {
  if (sorted.empty()) return 0;
  const double rank = std::ceil(percent / 100 * static_cast<double>(sorted.size()));
  return sorted[static_cast<std::size_t>(std::max(rank, 1.0)) - 1];
}

LatencyFigures figures(std::vector<double> samples) {
  LatencyFigures f;
  f.count = samples.size();
  if (samples.empty()) return f;
  std::sort(samples.begin(), samples.end());
  f.min = samples.front();
  f.max = samples.back();
  f.mean = std::accumulate(samples.begin(), samples.end(), 0.0) / static_cast<double>(f.count);
  f.p50 = nearest_rank(samples, 50);
  f.p90 = nearest_rank(samples, 90);
  f.p95 = nearest_rank(samples, 95);
  f.p99 = nearest_rank(samples, 99);
  constexpr std::size_t kEnough = 10000;
  if (f.count >= kEnough) f.p999 = nearest_rank(samples, 99.9);
  return f;
}

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
