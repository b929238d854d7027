#include "preprocess/noise.h"

#include <cmath>
#include <random>

#include "base/error.h"

namespace tendon {

namespace {

// Sixteen uniform numbers become sixteen normal ones: the first eight are radii, the others angles.
// All in fp32, the product of 2 pi included: in double the angles differ by up to 1e-6.
void box_muller(float* block) {
  constexpr float kTwoPi = 6.2831855f;
  for (int j = 0; j < 8; ++j) {
    const float radius = std::sqrt(-2.0f * std::log(1.0f - block[j]));
    const float angle = kTwoPi * block[j + 8];
    block[j] = radius * std::cos(angle);
    block[j + 8] = radius * std::sin(angle);
  }
}

}  // namespace

void torch_cpu_noise(std::uint32_t seed, std::span<float> out) {
  require(out.size() >= 16, "noise in PyTorch's order needs at least 16 numbers, {} were asked for",
          out.size());
  std::mt19937 words(seed);
  const auto uniform = [&] { return static_cast<float>(words() & 0xffffffu) * 0x1p-24f; };
  for (float& v : out) v = uniform();
  for (std::size_t i = 0; i + 16 <= out.size(); i += 16) box_muller(out.data() + i);
  if (out.size() % 16 == 0) return;
  float* tail = out.data() + out.size() - 16;
  for (int j = 0; j < 16; ++j) tail[j] = uniform();
  box_muller(tail);
}

}  // namespace tendon
