#include "backends/cpu/view.h"

namespace tendon::cpu {

View::View(std::byte* base, const ValueInfo& info)
    : data_(base + info.offset * static_cast<std::int64_t>(size_of(info.dtype))),
      dtype_(info.dtype),
      shape_(info.shape),
      strides_(info.strides) {
  merge();
}

View::View(void* data, DType dtype, std::int64_t rows, std::int64_t width)
    : data_(static_cast<std::byte*>(data)),
      dtype_(dtype),
      shape_({rows, width}),
      strides_(dense_strides(shape_)) {
  merge();
}

void View::merge() {
  element_ = static_cast<std::int64_t>(size_of(dtype_));
  width_ = shape_.rank() > 0 ? shape_[-1] : 1;
  rows_ = 1;
  dims_ = 0;
  step_[0] = width_ * element_;
  for (int i = shape_.rank() - 2; i >= 0; --i) {
    rows_ *= shape_[i];
    if (shape_[i] == 1) continue;
    const std::int64_t step = strides_[i] * element_;
    if (dims_ > 0 && step == extent_[dims_ - 1] * step_[dims_ - 1]) {
      extent_[dims_ - 1] *= shape_[i];
    } else {
      extent_[dims_] = shape_[i];
      step_[dims_++] = step;
    }
  }
}

View View::broadcast(const Shape& shape) const {
  View to = *this;
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape_[i] != shape[i]) to.strides_[i] = 0;
  }
  to.shape_ = shape;
  to.merge();
  return to;
}

View::Extent View::extent(std::int64_t begin, std::int64_t end) const {
  std::int64_t rest = width_ * element_, inner = 1;
  for (int i = 0; i + 1 < dims_; ++i) {
    rest += (extent_[i] - 1) * step_[i];
    inner *= extent_[i];
  }
  const std::int64_t step = step_[dims_ > 0 ? dims_ - 1 : 0];
  return {data_ + begin / inner * step, data_ + (end - 1) / inner * step + rest};
}

bool View::dense() const {
  std::int64_t step = 1;
  for (int i = shape_.rank() - 1; i >= 0; --i) {
    if (shape_[i] != 1 && strides_[i] != step) return false;
    step *= shape_[i];
  }
  return true;
}

}  // namespace tendon::cpu
