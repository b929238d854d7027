#include "sim/interval.h"

#include <cmath>

namespace tendon::sim {
namespace {

// P(at most `most` successes of `trials`) at `rate` in (0, 1).
double at_most(int most, int trials, double rate) {
  double sum = 0;
  for (int k = 0; k <= most; ++k) {
    const double ways =
        std::lgamma(trials + 1.0) - std::lgamma(k + 1.0) - std::lgamma(trials - k + 1.0);
    sum += std::exp(ways + k * std::log(rate) + (trials - k) * std::log1p(-rate));
  }
  return sum;
}

// The rate at which at_most(most, trials, rate) falls through `level`.
double rate_at(int most, int trials, double level) {
  double low = 0, high = 1;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (at_most(most, trials, middle) > level ? low : high) = middle;
  }
  return (low + high) / 2;
}

}  // namespace

Interval confidence(int successes, int trials) {
  Interval interval;
  if (trials <= 0) return interval;
  if (successes > 0) interval.low = rate_at(successes - 1, trials, 0.975);
  if (successes < trials) interval.high = rate_at(successes, trials, 0.025);
  return interval;
}

}  // namespace tendon::sim
