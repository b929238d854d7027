// Rotary positions of one op.
#pragma once

#include "backends/cpu/planner.h"

namespace tendon::cpu {

struct Rotation {
  const float *cos = nullptr, *sin = nullptr;
  std::int64_t cos_row = 0, sin_row = 0, positions = 0, half = 0;
  const std::int32_t* position = nullptr;  // [S] or [B S]
  std::int64_t count = 0;
  ops::RopeStyle style = ops::RopeStyle::split_half;

  Rotation() = default;
  // Of rows [B, S] (token = b * S + s); an absent cos gives no rotation.
  Rotation(const Planner& planner, Value cos_table, Value sin_table, Value where);
  explicit operator bool() const { return cos != nullptr; }
  bool in_range() const;
  void touch(Footprint& f) const;
  void apply(const Kernels& k, std::int64_t token, float* head) const {
    const std::int64_t p = position[token % count];
    k.rotate(style, head, cos + p * cos_row, sin + p * sin_row, half);
  }
};

}  // namespace tendon::cpu
