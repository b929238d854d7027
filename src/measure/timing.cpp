#include "measure/timing.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/clock.h"
#include "base/error.h"

namespace tendon::measure {
namespace {

std::vector<double> sorted(std::span<const double> values) {
  std::vector<double> v(values.begin(), values.end());
  for (double x : v) require(!std::isnan(x), "percentiles: a value is NaN; leave it out");
  std::sort(v.begin(), v.end());
  return v;
}

double nearest_rank(const std::vector<double>& ascending, double fraction) {
  const double rank = std::ceil(fraction * static_cast<double>(ascending.size()) - 1e-9);
  return ascending[static_cast<std::size_t>(std::max(rank, 1.0)) - 1];
}

double timed(const std::function<void()>& call) {
  const Stopwatch watch;
  call();
  return watch.seconds();
}

}  // namespace

Percentiles percentiles(std::span<const double> values) {
  if (values.empty()) return {};
  constexpr std::size_t kEnoughForP999 = 10000;
  const std::vector<double> v = sorted(values);
  return {.count = v.size(),
          .min = v.front(),
          .p50 = nearest_rank(v, 0.50),
          .p90 = nearest_rank(v, 0.90),
          .p95 = nearest_rank(v, 0.95),
          .p99 = nearest_rank(v, 0.99),
          .p999 = v.size() >= kEnoughForP999 ? nearest_rank(v, 0.999) : 0,
          .max = v.back(),
          .mean = std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size())};
}

std::vector<double> time_calls(const std::function<void()>& call, const Repetition& repetition) {
  for (int i = 0; i < repetition.warm_up; ++i) call();
  std::vector<double> seconds;
  seconds.reserve(static_cast<std::size_t>(std::max(repetition.most, repetition.least)));
  const Stopwatch total;
  for (int i = 0; i < repetition.least || i < repetition.most; ++i) {
    if (i >= repetition.least && total.seconds() >= repetition.seconds) break;
    seconds.push_back(timed(call));
  }
  return seconds;
}

Comparison compare_calls(const std::function<void()>& a, const std::function<void()>& b,
                         int pairs) {
  std::vector<double> seconds_a, seconds_b;
  a();
  b();
  for (int i = 0; i < pairs; ++i) {
    if (i % 2 == 0) {
      seconds_a.push_back(timed(a));
      seconds_b.push_back(timed(b));
    } else {
      seconds_b.push_back(timed(b));
      seconds_a.push_back(timed(a));
    }
  }
  return compare_pairs(seconds_a, seconds_b);
}

Comparison compare_pairs(std::span<const double> a, std::span<const double> b) {
  require(a.size() == b.size(), "comparison: {} times on one side, {} on the other", a.size(),
          b.size());
  require(a.size() >= 6, "comparison: 6 pairs at least, got {}", a.size());
  std::vector<double> ratios;
  for (std::size_t i = 0; i < a.size(); ++i) {
    require(a[i] > 0, "comparison: pair {} took {} s, too short for this clock", i, a[i]);
    ratios.push_back(b[i] / a[i]);
  }
  ratios = sorted(ratios);
  const std::size_t n = ratios.size();
  // Order statistics around the median: a binomial(n, 1/2) lies between ranks j and n + 1 - j with
  // 95%, whatever the distribution of the ratios is.
  const double half = static_cast<double>(n) / 2;
  const double j = std::max(1.0, std::floor(half - 0.98 * std::sqrt(static_cast<double>(n))));
  const auto first = static_cast<std::size_t>(j) - 1;
  const double median = (ratios[(n - 1) / 2] + ratios[n / 2]) / 2;
  return {.a = percentiles(a),
          .b = percentiles(b),
          .ratio = median,
          .low = ratios[first],
          .high = ratios[n - 1 - first]};
}

}  // namespace tendon::measure
