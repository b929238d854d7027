// Latencies in milliseconds.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tendon::server {

// The newest samples, and counts of all by bucket.
class LatencySeries {
 public:
  static constexpr std::size_t kWindow = 16384;
  static constexpr std::array<double, 16> kBounds{0.1, 0.25, 0.5, 1,   2.5,  5,    10,   25,
                                                  50,  100,  250, 500, 1000, 2500, 5000, 10000};

  void add(double ms);
  const std::vector<double>& window() const { return window_; }  // in no order
  std::uint64_t count() const { return count_; }
  double sum() const { return sum_; }
  std::uint64_t at_most(std::size_t bound) const;  // samples <= kBounds[bound]

 private:
  std::vector<double> window_;
  std::array<std::uint64_t, kBounds.size() + 1> buckets_{};
  std::uint64_t count_ = 0;
  double sum_ = 0;
};

}  // namespace tendon::server
