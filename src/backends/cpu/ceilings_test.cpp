#include "backends/cpu/ceilings.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace tendon {
namespace {

constexpr ProductShape kSmall{24, 96, 64, 2};

TEST(Ceilings, NothingIsKnownBeforeTheFirstSample) {
  const CeilingMeter meter(DType::f32, 1, {.large = kSmall, .few_rows = kSmall, .stream = 1 << 16});
  EXPECT_THROW(meter.median(), Error);
}

TEST(Ceilings, OperationsAndBytesAreThoseOfOneRun) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    ProductMeter meter(kSmall, dtype, {.products = CpuProducts::own}, 2);
    meter.sample(0);
    meter.sample(1e-3);
    const ProductRate rate = meter.median();
    EXPECT_GT(rate.flops, 0);
    // Two operations a row for each weight.
    EXPECT_NEAR(rate.flops / rate.bytes, 2.0 * 24 / static_cast<double>(size_of(dtype)), 1e-9);
  }
}

TEST(Ceilings, EachSampleTakesPartInEveryRate) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    CeilingMeter meter(dtype, 2,
                       {.large = kSmall,
                        .few_rows = {10, 96, 64, 2},
                        .stream = std::size_t{1} << 20,
                        .seconds = 1e-3});
    for (int i = 0; i < 3; ++i) meter.sample();
    const Ceilings c = meter.median();
    EXPECT_EQ(c.samples, 3u);
    EXPECT_GT(c.stream_bytes, 0);
    EXPECT_GT(c.large.flops, 0);
    EXPECT_GT(c.few_rows.flops, 0);
  }
}

}  // namespace
}  // namespace tendon
