#include "server/latency.h"

#include <gtest/gtest.h>

namespace tendon::server {
namespace {

TEST(Latency, NearestRank) {
  const LatencyFigures f = figures({10, 11, 12, 13, 14, 15, 16, 17, 18, 100});
  EXPECT_EQ(f.p50, 14);
  EXPECT_EQ(f.p90, 18);
  EXPECT_EQ(f.p95, 100);
  EXPECT_EQ(f.p99, 100);
  EXPECT_EQ(f.p999, 0);
  EXPECT_EQ(f.min, 10);
  EXPECT_EQ(f.max, 100);
  EXPECT_EQ(figures({}).p50, 0);
}

TEST(Latency, BucketsCountAllAndTheWindowTheNewest) {
  LatencySeries series;
  for (std::size_t i = 0; i < LatencySeries::kWindow + 10; ++i) series.add(0.1);
  series.add(99999);
  EXPECT_EQ(series.window().size(), LatencySeries::kWindow);
  EXPECT_EQ(series.at_most(0), LatencySeries::kWindow + 10);
  EXPECT_EQ(series.at_most(15), LatencySeries::kWindow + 10);
  EXPECT_EQ(series.count(), LatencySeries::kWindow + 11);
  EXPECT_EQ(figures(series.window()).max, 99999);
}

}  // namespace
}  // namespace tendon::server
