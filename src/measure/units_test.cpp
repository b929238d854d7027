#include "measure/units.h"

#include <gtest/gtest.h>

namespace tendon::measure {
namespace {

TEST(Units, Seconds) {
  EXPECT_EQ(format_seconds(2.5), "2.50 s");
  EXPECT_EQ(format_seconds(123.4), "123 s");
  EXPECT_EQ(format_seconds(0.01234), "12.3 ms");
  EXPECT_EQ(format_seconds(0.0009996), "1.00 ms");
  EXPECT_EQ(format_seconds(45.6e-6), "45.6 us");
  EXPECT_EQ(format_seconds(7e-9), "7.00 ns");
  EXPECT_EQ(format_seconds(0), "0 ns");
}

TEST(Units, Bytes) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(1000), "1.00 kB");
  EXPECT_EQ(format_bytes(7.23e9), "7.23 GB");
  EXPECT_EQ(format_bytes(999600), "1.00 MB");
}

TEST(Units, CountsAndRates) {
  EXPECT_EQ(format_count(812), "812");
  EXPECT_EQ(format_count(3616757520), "3.62 G");
  EXPECT_EQ(format_rate(795e12, "FLOP"), "795 TFLOP/s");
  EXPECT_EQ(format_rate(12.5, "request"), "12.5 request/s");
  EXPECT_EQ(format_share(0.8531), "85.3%");
}

}  // namespace
}  // namespace tendon::measure
