// A Value resolved to memory, read and written by rows.
#pragma once

#include "base/half.h"
#include "base/tensor.h"

namespace tendon::reference {

// The fp32 neighbour of d that rounds to any narrower type as d itself does (rounding to odd).
inline float narrowed(double d) {
  const float f = static_cast<float>(d);
  if (static_cast<double>(f) == d || f != f) return f;
  std::uint32_t bits = std::bit_cast<std::uint32_t>(f);
  const bool away = (d < 0 ? -static_cast<double>(f) > -d : static_cast<double>(f) > d);
  if (away) --bits;
  return std::bit_cast<float>(bits | 1u);
}
inline float narrowed(float f) { return f; }

struct View : Tensor {
  explicit operator bool() const { return data != nullptr; }
  std::int64_t width() const { return shape.rank() > 0 ? shape[-1] : 1; }
  std::int64_t rows() const { return width() > 0 ? shape.numel() / width() : 0; }
  // Element where row r (of all leading dimensions together) begins.
  std::int64_t row_offset(std::int64_t r) const {
    std::int64_t at = 0;
    for (int i = shape.rank() - 2; i >= 0; --i) {
      at += r % shape[i] * strides[i];
      r /= shape[i];
    }
    return at;
  }

  // Elements [column, column + count) of row r.
  template <class A>
  void load(std::int64_t r, std::int64_t column, std::int64_t count, A* out) const;
  template <class A>
  void store(std::int64_t r, std::int64_t column, std::int64_t count, const A* in) const;
  // Element i in row-major order, of an i32 view.
  std::int32_t integer(std::int64_t i) const {
    return as<std::int32_t>()[row_offset(i / width()) + i % width()];
  }
};

template <class A>
void View::load(std::int64_t r, std::int64_t column, std::int64_t count, A* out) const {
  const std::int64_t at = row_offset(r) + column;
  const auto each = [&](const auto* from, auto convert) {
    for (std::int64_t i = 0; i < count; ++i) out[i] = static_cast<A>(convert(from[at + i]));
  };
  const auto same = [](auto x) { return x; };
  switch (dtype) {
    case DType::f32:
      return each(as<float>(), same);
    case DType::f64:
      return each(as<double>(), same);
    case DType::bf16:
      return each(as<std::uint16_t>(), bf16_to_f32);
    case DType::f16:
      return each(as<std::uint16_t>(), f16_to_f32);
    case DType::i32:
      return each(as<std::int32_t>(), same);
    case DType::i64:
      return each(as<std::int64_t>(), same);
    case DType::u8:
    case DType::boolean:
      return each(as<std::uint8_t>(), same);
  }
}

template <class A>
void View::store(std::int64_t r, std::int64_t column, std::int64_t count, const A* in) const {
  const std::int64_t at = row_offset(r) + column;
  const auto each = [&](auto* to, auto convert) {
    for (std::int64_t i = 0; i < count; ++i) to[at + i] = convert(in[i]);
  };
  switch (dtype) {
    case DType::f32:
      return each(as<float>(), [](A a) { return static_cast<float>(a); });
    case DType::f64:
      return each(as<double>(), [](A a) { return static_cast<double>(a); });
    case DType::bf16:
      return each(as<std::uint16_t>(), [](A a) { return f32_to_bf16(narrowed(a)); });
    case DType::f16:
      return each(as<std::uint16_t>(), [](A a) { return f32_to_f16(narrowed(a)); });
    case DType::i32:
      return each(as<std::int32_t>(), [](A a) { return static_cast<std::int32_t>(a); });
    case DType::i64:
      return each(as<std::int64_t>(), [](A a) { return static_cast<std::int64_t>(a); });
    case DType::u8:
    case DType::boolean:
      return each(as<std::uint8_t>(), [](A a) { return static_cast<std::uint8_t>(a); });
  }
}

// One row of `to` from one of `from`. Through double, which holds every dtype's values up to 2^53.
void move_row(const View& from, std::int64_t row, const View& to, std::int64_t to_row);

}  // namespace tendon::reference
