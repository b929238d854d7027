#include "preprocess/noise.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/half.h"
#include "tests/support/golden.h"

namespace tendon {
namespace {

TEST(Noise, recorded_pytorch_generators) {
  const golden::File file("fastwam_tiny");
  for (const std::uint32_t seed : {0u, 42u}) {
    const auto want = file["noise.seed" + std::to_string(seed)].as<float>();
    std::vector<float> got(want.size());
    torch_cpu_noise(seed, got);
    for (std::size_t i = 0; i < want.size(); ++i) {
      EXPECT_NEAR(got[i], want[i], 2.4e-7) << seed << " " << i;
      EXPECT_EQ(f32_to_bf16(got[i]), f32_to_bf16(want[i]));
    }
  }
}

// From fastwam.md section 5; 20 numbers take the path of an odd length.
TEST(Noise, first_values_and_odd_lengths) {
  std::vector<float> noise(40);
  torch_cpu_noise(42, noise);
  EXPECT_NEAR(noise[0], 1.9269153f, 2.4e-7);
  EXPECT_NEAR(noise[3], -2.105521f, 2.4e-7);
  std::vector<float> odd(20);
  torch_cpu_noise(42, odd);
  EXPECT_EQ(odd[3], noise[3]);
  EXPECT_NE(odd[10], noise[10]);
  EXPECT_THROW(torch_cpu_noise(0, std::span(odd).first(15)), Error);
}

}  // namespace
}  // namespace tendon
