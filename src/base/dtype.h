// Element types.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tendon {

enum class DType : std::uint8_t { f32, f64, bf16, f16, i32, i64, u8, boolean };

constexpr std::size_t size_of(DType t) {
  switch (t) {
    case DType::f64:
    case DType::i64:
      return 8;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::bf16:
    case DType::f16:
      return 2;
    case DType::u8:
    case DType::boolean:
      return 1;
  }
  return 0;
}

// "f32", "bf16", ...
std::string_view name(DType t);

}  // namespace tendon
