#include "measure/timing.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <string>

#include "tendon/error.h"

namespace tendon::measure {
namespace {

TEST(Percentiles, NearestRank) {
  std::vector<double> v(100);
  std::iota(v.rbegin(), v.rend(), 1.0);  // 100 down to 1
  const Percentiles p = percentiles(v);
  EXPECT_EQ(p.count, 100u);
  EXPECT_EQ(p.min, 1);
  EXPECT_EQ(p.p50, 50);
  EXPECT_EQ(p.p90, 90);
  EXPECT_EQ(p.p99, 99);
  EXPECT_EQ(p.max, 100);
  EXPECT_DOUBLE_EQ(p.mean, 50.5);
}

TEST(Percentiles, FewValues) {
  EXPECT_EQ(percentiles({}).count, 0u);
  const std::vector<double> one{2.5};
  EXPECT_EQ(percentiles(one).p50, 2.5);
  EXPECT_EQ(percentiles(one).p99, 2.5);
  const std::vector<double> three{3, 1, 2};
  EXPECT_EQ(percentiles(three).p50, 2);
  EXPECT_EQ(percentiles(three).p90, 3);
}

TEST(Percentiles, TailsOfFewAndOfManyValues) {
  const std::vector<double> ten{10, 11, 12, 13, 14, 15, 16, 17, 18, 100};
  const Percentiles f = percentiles(ten);
  EXPECT_EQ(f.p50, 14);
  EXPECT_EQ(f.p90, 18);
  EXPECT_EQ(f.p95, 100);
  EXPECT_EQ(f.p99, 100);
  EXPECT_EQ(f.p999, 0);
  EXPECT_EQ(f.min, 10);
  EXPECT_EQ(f.max, 100);
  EXPECT_EQ(percentiles({}).p50, 0);
  std::vector<double> many(10000);
  std::iota(many.begin(), many.end(), 1.0);
  EXPECT_EQ(percentiles(many).p999, 9990);
}

TEST(Percentiles, RefusesNan) {
  const std::vector<double> v{1, std::nan("")};
  EXPECT_THROW(percentiles(v), Error);
}

TEST(TimeCalls, CountsCalls) {
  int calls = 0;
  const auto call = [&] { ++calls; };
  EXPECT_EQ(time_calls(call, {.warm_up = 2, .least = 5, .most = 5, .seconds = 100}).size(), 5u);
  EXPECT_EQ(calls, 7);
  calls = 0;
  EXPECT_EQ(time_calls(call, {.warm_up = 0, .least = 4, .most = 1000, .seconds = 0}).size(), 4u);
  EXPECT_EQ(calls, 4);
}

TEST(CompareCalls, TakesTurnsAndSwapsThem) {
  std::string order;
  volatile double sink = 0;
  const auto busy = [&] {
    for (int i = 0; i < 1000; ++i) sink = sink + 1.0;
  };
  compare_calls([&] { order += 'a', busy(); }, [&] { order += 'b', busy(); }, 6);
  EXPECT_EQ(order,
            "ab"
            "abba"
            "abba"
            "abba");
}

TEST(ComparePairs, FindsARealDifference) {
  std::vector<double> a, b;
  for (int i = 0; i < 40; ++i) {
    const double drift = 1.0 + 0.05 * i;  // both slow down together
    a.push_back(drift);
    b.push_back(0.9 * drift * (i % 2 == 0 ? 1.01 : 0.99));
  }
  const Comparison c = compare_pairs(a, b);
  EXPECT_NEAR(c.ratio, 0.9, 0.01);
  EXPECT_LE(c.low, c.ratio);
  EXPECT_GE(c.high, c.ratio);
  EXPECT_TRUE(c.differs());
}

TEST(ComparePairs, SeesNoDifferenceInNoise) {
  std::vector<double> a, b;
  for (int i = 0; i < 40; ++i) {
    a.push_back(1.0 + 0.01 * (i * 7 % 11));
    b.push_back(1.0 + 0.01 * (i * 5 % 11));
  }
  EXPECT_FALSE(compare_pairs(a, b).differs());
}

TEST(ComparePairs, IntervalIsOfOrderStatistics) {
  std::vector<double> a(100, 1.0), b(100);
  std::iota(b.begin(), b.end(), 1.0);
  const Comparison c = compare_pairs(a, b);
  EXPECT_DOUBLE_EQ(c.ratio, 50.5);
  EXPECT_DOUBLE_EQ(c.low, 40);  // rank floor(50 - 9.8)
  EXPECT_DOUBLE_EQ(c.high, 61);
}

TEST(ComparePairs, RefusesTooFewOrUnpaired) {
  const std::vector<double> five(5, 1.0), six(6, 1.0), zero(6, 0.0);
  EXPECT_THROW(compare_pairs(five, five), Error);
  EXPECT_THROW(compare_pairs(five, six), Error);
  EXPECT_THROW(compare_pairs(zero, six), Error);
}

}  // namespace
}  // namespace tendon::measure
