// A value with its address: rows of equal width under any strides.
#pragma once

#include <cstddef>

#include "ops/trace.h"

namespace tendon::cpu {

class View {
 public:
  View() = default;
  // `base`: where the value's root lies.
  View(std::byte* base, const ValueInfo& info);
  // Dense [rows, width].
  View(void* data, DType dtype, std::int64_t rows, std::int64_t width);

  // The same elements seen as `shape`: dimensions of extent 1 are repeated.
  View broadcast(const Shape& shape) const;

  explicit operator bool() const { return data_ != nullptr; }
  std::byte* data() const { return data_; }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  std::int64_t stride(int i) const { return strides_[i < 0 ? shape_.rank() + i : i]; }
  std::int64_t rows() const { return rows_; }
  std::int64_t width() const { return width_; }
  bool dense() const;
  // Bytes between neighbouring rows where that is one number for all, else 0.
  std::int64_t row_bytes() const { return dims_ <= 1 ? step_[0] : 0; }
  std::byte* row(std::int64_t r) const {
    if (dims_ <= 1) return data_ + r * step_[0];
    std::byte* p = data_;
    for (int i = 0; i < dims_; ++i) {
      p += r % extent_[i] * step_[i];
      r /= extent_[i];
    }
    return p;
  }
  // Memory that rows [begin, end) lie in, and perhaps some beside it.
  struct Extent {
    const std::byte *begin, *end;
  };
  Extent extent(std::int64_t begin, std::int64_t end) const;
  // Column c of row r.
  std::byte* at(std::int64_t r, std::int64_t c) const { return row(r) + c * element_; }

 private:
  void merge();

  std::byte* data_ = nullptr;
  DType dtype_ = DType::f32;
  Shape shape_;
  std::array<std::int64_t, Shape::kMaxRank> strides_{};
  std::int64_t rows_ = 1, width_ = 1, element_ = 4;
  int dims_ = 0;  // of rows, innermost first, merged as far as strides allow; steps in bytes
  std::array<std::int64_t, Shape::kMaxRank> extent_{}, step_{};
};

}  // namespace tendon::cpu
