// Latencies in milliseconds and their figures, by nearest rank.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace tendon::server {

struct LatencyFigures {
  std::size_t count = 0;
  double min = 0, mean = 0, p50 = 0, p90 = 0, p95 = 0, p99 = 0, p999 = 0, max = 0;
};

// 0 for an empty sample.
double nearest_rank(std::span<const double> sorted, double percent);

// Sorts `samples`. p99.9 stays 0 below 10 000 samples: there is no such rank yet.
LatencyFigures figures(std::vector<double> samples);

// The newest samples, and counts of all by bucket.
class LatencySeries {
 public:
  static constexpr std::size_t kWindow = 16384;
  static constexpr std::array<double, 16> kBounds{0.1, 0.25, 0.5, 1,   2.5,  5,    10,   25,
                                                  50,  100,  250, 500, 1000, 2500, 5000, 10000};

  void add(double ms);
  std::vector<double> window() const { return window_; }  // in no order
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
