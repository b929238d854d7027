#include "server/latency.h"

#include <gtest/gtest.h>

#include "measure/timing.h"

namespace tendon::server {
namespace {

TEST(Latency, BucketsCountAllAndTheWindowTheNewest) {
  LatencySeries series;
  for (std::size_t i = 0; i < LatencySeries::kWindow + 10; ++i) series.add(0.1);
  series.add(99999);
  EXPECT_EQ(series.window().size(), LatencySeries::kWindow);
  EXPECT_EQ(series.at_most(0), LatencySeries::kWindow + 10);
  EXPECT_EQ(series.at_most(15), LatencySeries::kWindow + 10);
  EXPECT_EQ(series.count(), LatencySeries::kWindow + 11);
  EXPECT_EQ(measure::percentiles(series.window()).max, 99999);
}

}  // namespace
}  // namespace tendon::server
