// Which elements of a stored tensor a model wants, in which order: no copy until they are read.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/shape.h"

namespace tendon {

class TensorSource;

// Starts as the whole tensor; each step gives a new view. Example, the last temporal tap of a
// kernel [O, C, kt, kh, kw] as [O, kh, kw, C]: TensorView(stored).select(2, kt - 1).permute({0, 2,
// 3, 1}).
class TensorView {
 public:
  explicit TensorView(const Shape& stored);

  // Entry `index` of a dimension, which disappears.
  TensorView select(int dimension, std::int64_t index) const;
  TensorView slice(int dimension, std::int64_t first, std::int64_t count) const;
  // Dimension i of the result is dimension order[i] of this.
  TensorView permute(const std::vector<int>& order) const;
  // One dimension becomes two, [extent / inner, inner].
  TensorView split(int dimension, std::int64_t inner) const;
  // The sum over a dimension in fp32, first entry first; the dimension disappears.
  TensorView sum(int dimension) const;

  const Shape& stored() const { return stored_; }
  const Shape& shape() const { return shape_; }
  // No summed, skipped or moved element.
  bool whole() const;

  // Elements [first, first + count) of the view in row-major order.
  void read(const TensorSource& source, std::int64_t first, std::int64_t count, float* out) const;

 private:
  TensorView without(int dimension) const;
  void read_from(const TensorSource& source, std::int64_t base, std::int64_t first,
                 std::span<float> out) const;

  Shape stored_, shape_;
  std::array<std::int64_t, Shape::kMaxRank> strides_{};
  std::vector<std::int64_t> bases_{0};  // one for each summand
};

}  // namespace tendon
