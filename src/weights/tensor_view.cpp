#include "weights/tensor_view.h"

#include <algorithm>

#include "base/error.h"
#include "base/tensor.h"
#include "weights/checkpoint.h"

namespace tendon {
namespace {

void check_dimension(const Shape& shape, int dimension) {
  require(dimension >= 0 && dimension < shape.rank(), "view: {} has no dimension {}", shape.str(),
          dimension);
}

// A block of the source, `rows` adjacent elements at each of `run` places `step` apart, turned over
// into rows of `run` elements. Reads and writes stay in lines: a stride of kilobytes costs a miss
// for each element otherwise.
struct Block {
  std::int64_t element, step, rows, run;
};

void read_turned(const TensorSource& source, const Block& b, float* out) {
  constexpr std::int64_t kTile = 64;
  std::array<float, kTile * kTile> tile;
  for (std::int64_t r = 0; r < b.rows; r += kTile) {
    const std::int64_t rows = std::min(kTile, b.rows - r);
    for (std::int64_t c = 0; c < b.run; c += kTile) {
      const std::int64_t columns = std::min(kTile, b.run - c);
      for (std::int64_t j = 0; j < columns; ++j) {
        source.read(b.element + r + (c + j) * b.step, 1, rows, tile.data() + j * kTile);
      }
      for (std::int64_t i = 0; i < rows; ++i) {
        float* row = out + (r + i) * b.run + c;
        for (std::int64_t j = 0; j < columns; ++j) {
          row[j] = tile[static_cast<std::size_t>(j * kTile + i)];
        }
      }
    }
  }
}

}  // namespace

TensorView::TensorView(const Shape& stored)
    : stored_(stored), shape_(stored), strides_(dense_strides(stored)) {}

TensorView TensorView::without(int dimension) const {
  TensorView v = *this;
  v.shape_ = {};
  v.strides_ = {};
  for (int i = 0; i < shape_.rank(); ++i) {
    if (i == dimension) continue;
    v.strides_[static_cast<std::size_t>(v.shape_.rank())] = strides_[static_cast<std::size_t>(i)];
    v.shape_.push_back(shape_[i]);
  }
  return v;
}

TensorView TensorView::select(int dimension, std::int64_t index) const {
  return slice(dimension, index, 1).without(dimension);
}

TensorView TensorView::slice(int dimension, std::int64_t first, std::int64_t count) const {
  check_dimension(shape_, dimension);
  require(first >= 0 && count >= 0 && first + count <= shape_[dimension],
          "view: entries {} to {} are not in dimension {} of {}", first, first + count, dimension,
          shape_.str());
  TensorView v = *this;
  for (std::int64_t& base : v.bases_) base += first * strides_[static_cast<std::size_t>(dimension)];
  v.shape_[dimension] = count;
  return v;
}

TensorView TensorView::permute(const std::vector<int>& order) const {
  TensorView v = *this;
  v.shape_ = {};
  std::vector<int> sorted = order;
  std::sort(sorted.begin(), sorted.end());
  for (int i = 0; i < static_cast<int>(sorted.size()); ++i) {
    require(sorted[static_cast<std::size_t>(i)] == i, "view: not an order of dimensions");
  }
  require(static_cast<int>(order.size()) == shape_.rank(), "view: {} has not {} dimensions",
          shape_.str(), order.size());
  for (const int from : order) {
    v.strides_[static_cast<std::size_t>(v.shape_.rank())] =
        strides_[static_cast<std::size_t>(from)];
    v.shape_.push_back(shape_[from]);
  }
  return v;
}

TensorView TensorView::split(int dimension, std::int64_t inner) const {
  check_dimension(shape_, dimension);
  require(inner > 0 && shape_[dimension] % inner == 0,
          "view: {} does not divide dimension {} of {}", inner, dimension, shape_.str());
  TensorView v = *this;
  v.shape_ = {};
  v.strides_ = {};
  const auto append = [&](std::int64_t extent, std::int64_t stride) {
    v.shape_.push_back(extent);
    v.strides_[static_cast<std::size_t>(v.shape_.rank() - 1)] = stride;
  };
  for (int i = 0; i < shape_.rank(); ++i) {
    const std::int64_t stride = strides_[static_cast<std::size_t>(i)];
    if (i == dimension) append(shape_[i] / inner, stride * inner);
    append(i == dimension ? inner : shape_[i], stride);
  }
  return v;
}

TensorView TensorView::sum(int dimension) const {
  check_dimension(shape_, dimension);
  require(shape_[dimension] > 0, "view: nothing to sum in dimension {}", dimension);
  TensorView v = without(dimension);
  v.bases_.clear();
  for (const std::int64_t base : bases_) {
    for (std::int64_t i = 0; i < shape_[dimension]; ++i) {
      v.bases_.push_back(base + i * strides_[static_cast<std::size_t>(dimension)]);
    }
  }
  return v;
}

bool TensorView::whole() const {
  return bases_.size() == 1 && bases_[0] == 0 && shape_.numel() == stored_.numel() &&
         strides_ == dense_strides(shape_);
}

void TensorView::read_from(const TensorSource& source, std::int64_t base, std::int64_t first,
                           std::span<float> out) const {
  // Trailing dimensions that lie densely one in another are one run.
  int outer = shape_.rank();
  std::int64_t run = 1, step = outer ? strides_[static_cast<std::size_t>(outer - 1)] : 1;
  while (outer > 0 && (run == 1 || strides_[static_cast<std::size_t>(outer - 1)] == run * step)) {
    if (run == 1) step = strides_[static_cast<std::size_t>(outer - 1)];
    run *= shape_[--outer];
  }
  std::size_t done = 0;
  while (done < out.size()) {
    std::int64_t at = first + static_cast<std::int64_t>(done);
    const std::int64_t inside = at % run;
    const auto left = static_cast<std::int64_t>(out.size() - done);
    const std::int64_t n = std::min(run - inside, left);
    std::int64_t element = base + inside * step;
    at /= run;
    std::int64_t rows = 0;  // whole runs whose beginnings are adjacent
    if (inside == 0 && outer > 0 && strides_[static_cast<std::size_t>(outer - 1)] == 1) {
      rows = std::min(left / run, shape_[outer - 1] - at % shape_[outer - 1]);
    }
    for (int i = outer - 1; i >= 0; --i) {
      element += at % shape_[i] * strides_[static_cast<std::size_t>(i)];
      at /= shape_[i];
    }
    if (rows > 1 && run > 1) {
      read_turned(source, {element, step, rows, run}, out.data() + done);
      done += static_cast<std::size_t>(rows * run);
      continue;
    }
    source.read(element, step, n, out.data() + done);
    done += static_cast<std::size_t>(n);
  }
}

void TensorView::read(const TensorSource& source, std::int64_t first, std::int64_t count,
                      float* out) const {
  read_from(source, bases_[0], first, {out, static_cast<std::size_t>(count)});
  if (bases_.size() == 1) return;
  std::vector<float> part(static_cast<std::size_t>(std::min<std::int64_t>(count, 4096)));
  for (std::size_t b = 1; b < bases_.size(); ++b) {
    for (std::int64_t at = 0; at < count;) {
      const std::int64_t n = std::min<std::int64_t>(count - at, 4096);
      read_from(source, bases_[b], first + at, {part.data(), static_cast<std::size_t>(n)});
      for (std::int64_t i = 0; i < n; ++i) out[at + i] += part[static_cast<std::size_t>(i)];
      at += n;
    }
  }
}

}  // namespace tendon
