// A logical weight: what a model asks for, before any backend has packed it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/dtype.h"
#include "base/shape.h"

namespace tendon {

// How a weight's values are stored and rounded. A vector (rank 1) is always held in fp32 by a
// backend; with Format::bf16 its values are rounded to bf16 first.
enum class Format : std::uint8_t { f32, bf16 };

struct Weight {
  std::string name;  // the checkpoint's own name, or "a|b" where several are joined
  Shape shape;       // [N, K], row n holds output n; [N]; conv [O, kh, kw, C]
  Format format = Format::f32;

  // Writes rows [first, first + count) of the first dimension as fp32 (not yet rounded to format).
  // Any thread, several at once. Throws Error on NaN or infinity in the source.
  std::function<void(std::int64_t first, std::int64_t count, float* out)> read;

  // Called once after packing; the source's pages may be dropped. May be empty.
  std::function<void()> release;

  // The whole weight as it lies in the file, dense, valid as long as the Program; null where a
  // transformation stands in between. Tables (ops::Embed) are used in place through it.
  const void* raw = nullptr;
  DType raw_dtype = DType::f32;
};

struct WeightRef {
  std::int32_t id = -1;
  explicit operator bool() const { return id >= 0; }
  bool operator==(const WeightRef&) const = default;
};

}  // namespace tendon
