// How long something takes, and which of two things is faster.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

namespace tendon::measure {

// Of a sample, by nearest rank: each figure is one that was observed. p99.9 stays 0 below 10 000
// values: there is no such rank yet.
struct Percentiles {
  std::size_t count = 0;
  double min = 0, p50 = 0, p90 = 0, p95 = 0, p99 = 0, p999 = 0, max = 0, mean = 0;
};

// All zero for an empty sample. Throws Error on NaN.
Percentiles percentiles(std::span<const double> values);

struct Repetition {
  int warm_up = 3;       // calls before the clock counts
  int least = 10;        // calls at least
  int most = 1000;       // calls at most
  double seconds = 1.0;  // between them: calls until this much time is spent
};

// Seconds of each counted call, in order. Exceptions of `call` pass through.
std::vector<double> time_calls(const std::function<void()>& call, const Repetition& repetition);

// b relative to a: the median over pairs of seconds(b) / seconds(a), and a 95% interval of it.
struct Comparison {
  Percentiles a, b;
  double ratio = 0, low = 0, high = 0;
  // Whether the interval leaves 1 out.
  bool differs() const { return low > 1.0 || high < 1.0; }
};

// Times the two in turn, the order swapped in every second pair, so that a drifting clock or a busy
// neighbour meets both alike. Throws Error for less than 6 pairs, too few for the interval.
Comparison compare_calls(const std::function<void()>& a, const std::function<void()>& b, int pairs);

// The same from times measured elsewhere, pair by pair.
Comparison compare_pairs(std::span<const double> a, std::span<const double> b);

}  // namespace tendon::measure
