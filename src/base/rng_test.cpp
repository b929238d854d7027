#include "base/rng.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "base/hash.h"

namespace tendon {
namespace {

TEST(Rng, SyntheticBitsAreThePublishedOnes) {
  const std::uint64_t h = fnv1a64("action_in_proj.weight");
  const double expected[] = {0.09525751, -0.12496406, -0.00453304, -0.02425069};
  for (std::uint64_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(unit_from_bits(synthetic_bits(h, i)) * 0.125, expected[i], 1e-8);
  }
  const double vectors[] = {-0.25653815, 0.50770867, -0.36447346};
  for (std::uint64_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(unit_from_bits(vector_bits(fnv1a64("a"), i)), vectors[i], 5e-9);
  }
  EXPECT_EQ(unit_from_bits(0), -1.0f);
  EXPECT_EQ(unit_from_bits(~0ull), 1.0f - 0x1p-23f);
}

TEST(Rng, QuantileInvertsTheNormalDistribution) {
  for (double p = 0x1p-53; p < 0.5; p *= 1.37) {
    const double x = normal_quantile(p);
    const double back = 0.5 * std::erfc(-x / std::sqrt(2.0));
    EXPECT_NEAR(back / p, 1.0, 2e-13) << p;
    const double q = 1.0 - p;  // may be rounded: compare where it is exact enough
    if (p > 1e-3) {
      EXPECT_NEAR(normal_quantile(q), -x, 1e-12 * std::fabs(x) / p);
    }
  }
  EXPECT_EQ(normal_quantile(0.5), 0.0);
  EXPECT_NEAR(normal_quantile(0.975), 1.959963984540054, 1e-15 * 4);
  EXPECT_EQ(normal_quantile(0.25), -normal_quantile(0.75));
}

TEST(Rng, GaussianIsTheSameEverywhere) {
  std::vector<float> noise(100000);
  fill_gaussian(7, 0, noise);
  EXPECT_EQ(sha256_hex(std::as_bytes(std::span(noise))),
            "9ecd15e8de725e0e063260bb9471177b46998c39ec2df91151ab4138abff92b3");
  std::vector<float> part(10);
  fill_gaussian(7, 500, part);
  EXPECT_TRUE(std::equal(part.begin(), part.end(), noise.begin() + 500));
}

struct Moments {
  double mean = 0, variance = 0, skew = 0, kurtosis = 0;
};

Moments moments(const std::vector<float>& x) {
  Moments m;
  for (const double v : x) {
    m.mean += v;
    m.variance += v * v;
    m.skew += v * v * v;
    m.kurtosis += v * v * v * v;
  }
  const double n = static_cast<double>(x.size());
  m.mean /= n, m.variance /= n, m.skew /= n, m.kurtosis /= n;
  return m;
}

// Bounds are five standard deviations of each estimate at a million samples.
TEST(Rng, GaussianHasNormalMoments) {
  for (const std::uint64_t seed : {0ull, 1ull, 2ull, ~0ull}) {
    std::vector<float> x(1000000);
    fill_gaussian(seed, 0, x);
    const Moments m = moments(x);
    EXPECT_NEAR(m.mean, 0, 5e-3);
    EXPECT_NEAR(m.variance, 1, 5e-3 * std::sqrt(2.0));
    EXPECT_NEAR(m.skew, 0, 5e-3 * std::sqrt(15.0));
    EXPECT_NEAR(m.kurtosis, 3, 5e-3 * std::sqrt(96.0));
  }
}

TEST(Rng, GaussianFollowsTheDistribution) {
  std::vector<float> x(1000000);
  fill_gaussian(3, 0, x);
  std::sort(x.begin(), x.end());
  double largest = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double expected = 0.5 * std::erfc(-x[i] / std::sqrt(2.0));
    largest = std::max(largest, std::fabs(expected - (i + 0.5) / x.size()));
  }
  EXPECT_LT(largest, 1.95 / std::sqrt(1e6));  // Kolmogorov-Smirnov at 0.1 %
  EXPECT_GT(x.back(), 4.4f);
  EXPECT_LT(x.front(), -4.4f);
}

TEST(Rng, NeighboursInSeedAndIndexAreUncorrelated) {
  constexpr int kCount = 200000;
  std::vector<float> a(kCount), b(kCount);
  fill_gaussian(41, 0, a);
  fill_gaussian(42, 0, b);
  double seeds = 0, next = 0, shifted = 0;
  for (int i = 0; i + 1 < kCount; ++i) {
    seeds += a[i] * b[i];
    next += a[i] * a[i + 1];
    shifted += a[i + 1] * b[i];
  }
  const double bound = 5 / std::sqrt(kCount);
  EXPECT_LT(std::fabs(seeds / kCount), bound);
  EXPECT_LT(std::fabs(next / kCount), bound);
  EXPECT_LT(std::fabs(shifted / kCount), bound);
}

}  // namespace
}  // namespace tendon
