#include "preprocess/noise.h"

#include <cmath>
#include <random>

#include "base/error.h"

namespace tendon {

namespace {

// Sixteen uniform numbers become sixteen normal ones: the first eight are radii, the others angles.
void box_muller(float* block) {
  constexpr double kTwoPi = 6.283185307179586;
  for (int j = 0; j < 8; ++j) {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - double{block[j]}));
    const double angle = kTwoPi * block[j + 8];
    block[j] = static_cast<float>(radius * std::cos(angle));
    block[j + 8] = static_cast<float>(radius * std::sin(angle));
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
