// Numbers that any program can make again: by name and index (generated checkpoints and inputs) and
// by seed (the sampler's noise). Integer arithmetic and IEEE + - * / sqrt only, so the same bits on
// every machine and compiler.
#pragma once

#include <cstdint>
#include <span>

namespace tendon {

constexpr std::uint64_t kGoldenGamma = 0x9E3779B97F4A7C15ull;

constexpr std::uint64_t mix64(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

// 64 bits for element i of the tensor whose name has the FNV-1a 64 hash h.
constexpr std::uint64_t synthetic_bits(std::uint64_t h, std::uint64_t i) {
  return mix64(h + (i + 1) * kGoldenGamma);
}

// The same with the index as increment: the generator of some published test vectors.
constexpr std::uint64_t vector_bits(std::uint64_t h, std::uint64_t i) {
  return mix64(h + i + kGoldenGamma);
}

// The 24 high bits as a number in [-1, 1), exact in fp32.
constexpr float unit_from_bits(std::uint64_t z) {
  return static_cast<float>(static_cast<std::int32_t>(z >> 40)) * 0x1p-23f - 1.0f;
}

// The standard normal number below which a share `p` of all lies, p in (0, 1). Relative error
// 1e-15.
double normal_quantile(double p);

// Standard normal number `i` of stream `seed`: any i, in any order, on any thread.
double gaussian(std::uint64_t seed, std::uint64_t i);

// out[j] = gaussian(seed, first + j) rounded to fp32.
void fill_gaussian(std::uint64_t seed, std::uint64_t first, std::span<float> out);

}  // namespace tendon
