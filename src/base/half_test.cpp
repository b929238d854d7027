#include "base/half.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace tendon {
namespace {

TEST(Half, EveryF16IsItsDefinitionAndComesBack) {
  for (std::uint32_t h = 0; h < 0x10000; ++h) {
    const auto half = static_cast<std::uint16_t>(h);
    const int exponent = static_cast<int>(h >> 10 & 31), mantissa = static_cast<int>(h & 1023);
    const float sign = h & 0x8000 ? -1.0f : 1.0f;
    const float value = f16_to_f32(half);
    if (exponent == 31) {
      EXPECT_TRUE(mantissa ? std::isnan(value) : value == sign * INFINITY) << h;
    } else {
      const float magnitude =
          exponent ? std::ldexp(1.0f + static_cast<float>(mantissa) / 1024, exponent - 15)
                   : std::ldexp(static_cast<float>(mantissa), -24);
      EXPECT_EQ(value, sign * magnitude) << h;
      EXPECT_EQ(std::signbit(value), sign < 0) << h;
    }
    if (!std::isnan(value)) {
      EXPECT_EQ(f32_to_f16(value), half);
    }
  }
}

// Half way between neighbours goes to the even one, a hair more goes up.
TEST(Half, F16RoundsToNearestEven) {
  for (std::uint16_t h = 0; h < 0x7bff; ++h) {
    const float low = f16_to_f32(h), high = f16_to_f32(static_cast<std::uint16_t>(h + 1));
    const float middle = low + (high - low) / 2;
    EXPECT_EQ(f32_to_f16(middle), h & 1 ? h + 1 : h);
    EXPECT_EQ(f32_to_f16(std::nextafter(middle, INFINITY)), h + 1);
    EXPECT_EQ(f32_to_f16(std::nextafter(middle, -INFINITY)), h);
  }
  EXPECT_EQ(f32_to_f16(65519.0f), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(f32_to_f16(-1e30f), 0xfc00);
}

TEST(Half, Bf16RoundsToNearestEven) {
  for (std::uint32_t h = 0; h < 0x7f7f; ++h) {
    const auto half = static_cast<std::uint16_t>(h);
    EXPECT_EQ(f32_to_bf16(bf16_to_f32(half)), half);
    const float middle = std::bit_cast<float>(h << 16 | 0x8000u);
    EXPECT_EQ(f32_to_bf16(middle), h & 1 ? h + 1 : h);
    EXPECT_EQ(f32_to_bf16(std::nextafter(middle, INFINITY)), h + 1);
  }
  EXPECT_TRUE(std::isnan(round_bf16(std::numeric_limits<float>::quiet_NaN())));
  EXPECT_EQ(round_bf16(-INFINITY), -INFINITY);
}

}  // namespace
}  // namespace tendon
