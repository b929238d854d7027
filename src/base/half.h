// bf16 and fp16 <-> fp32, round to nearest even. Portable and exact; kernels have their own
// vectors.
#pragma once

#include <bit>
#include <cstdint>

namespace tendon {

constexpr float bf16_to_f32(std::uint16_t h) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(h) << 16);
}

constexpr std::uint16_t f32_to_bf16(float f) {
  const std::uint32_t u = std::bit_cast<std::uint32_t>(f);
  if ((u & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>((u >> 16) | 0x40u);  // NaN
  return static_cast<std::uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

// The fp32 value nearest to f that bf16 holds.
constexpr float round_bf16(float f) { return bf16_to_f32(f32_to_bf16(f)); }

constexpr float f16_to_f32(std::uint16_t h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000u) << 16;
  const std::uint32_t magnitude = h & 0x7fffu;
  constexpr std::uint32_t kRebias = 112u << 23;
  // Each case is computed and one chosen, so that loops over arrays become vector code.
  const std::uint32_t normal = (magnitude << 13) + kRebias;
  const std::uint32_t huge = normal + kRebias;  // infinity and NaN: exponent 31 becomes 255
  const std::uint32_t small = std::bit_cast<std::uint32_t>(
      static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-24f);
  const std::uint32_t bits = magnitude >= 0x7c00u ? huge : normal;
  return std::bit_cast<float>(sign | (magnitude < 0x400u ? small : bits));
}

constexpr std::uint16_t f32_to_f16(float f) {
  const std::uint32_t u = std::bit_cast<std::uint32_t>(f);
  const std::uint16_t sign = static_cast<std::uint16_t>((u >> 16) & 0x8000u);
  const std::uint32_t magnitude = u & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return sign | 0x7e00u;
  if (magnitude >= 0x477ff000u) return sign | 0x7c00u;  // rounds to infinity from 65520 on
  if (magnitude < 0x38800000u) {                        // subnormal in fp16: units of 2^-24
    const float scaled = std::bit_cast<float>(magnitude) * 16777216.0f;
    std::uint32_t units = static_cast<std::uint32_t>(scaled);
    const float rest = scaled - static_cast<float>(units);
    if (rest > 0.5f || (rest == 0.5f && (units & 1u))) ++units;
    return static_cast<std::uint16_t>(sign | units);
  }
  const std::uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

}  // namespace tendon
