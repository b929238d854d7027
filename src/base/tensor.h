// A view of typed memory. Never owns.
#pragma once

#include <array>
#include <cstddef>

#include "base/dtype.h"
#include "base/shape.h"

namespace tendon {

// Strides count elements; the last dimension is contiguous.
struct Tensor {
  std::byte* data = nullptr;
  DType dtype = DType::f32;
  Shape shape;
  std::array<std::int64_t, Shape::kMaxRank> strides{};

  Tensor() = default;
  // Dense row-major view.
  Tensor(void* p, DType t, const Shape& s);

  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data);
  }
  std::int64_t stride(int i) const { return strides[i < 0 ? shape.rank() + i : i]; }
  bool dense() const;
};

// Row-major strides of `shape`.
std::array<std::int64_t, Shape::kMaxRank> dense_strides(const Shape& shape);

}  // namespace tendon
