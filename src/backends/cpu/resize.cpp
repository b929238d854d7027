#include <algorithm>

#include "backends/cpu/planner.h"
#include "base/frame_table.h"

namespace tendon::cpu {
namespace {

namespace table = frame_table;

struct Frame {
  const std::uint8_t* data;
  const std::int32_t* numbers;
  const float* weights;
  int field(table::Field f) const { return numbers[f]; }
  bool smooth() const { return field(table::kSmooth) != 0; }
  float value(int c, int byte) const { return weights[table::kValues + 256 * c + byte]; }
};

std::int32_t rounded(std::int32_t sum) { return std::clamp(sum >> table::kFraction, 0, 255); }

// A picture's rows one after the other. Plain loops: hosts that want the most of their processor
// resize before the model (preprocess), devices come here.
class Resize : public Step {
 public:
  Resize(Planner& planner, const ops::Resize& op)
      : frames_(planner.view(op.frames)),
        tables_(planner.view(op.tables)),
        weights_(planner.view(op.weights)),
        out_(planner.view(op.out)),
        height_(static_cast<int>(out_.shape()[1])),
        width_(static_cast<int>(out_.shape()[2])),
        kernels_(&planner.kernels()) {
    threads_ = planner.threads();
    buffer_ = planner.own_of<float>(2 * width_ * 3);
  }

  const char* run(const Worker& w) noexcept override {
    const char* wrong = nullptr;
    split(w, threads_, out_.shape()[0] * height_, [&](std::int64_t begin, std::int64_t end) {
      float* row = buffer_.of(w.index());
      for (std::int64_t r = begin; r < end; ++r) {
        if (!make_row(r / height_, static_cast<int>(r % height_), row)) {
          wrong = "resize: a frame is larger than its place";
        }
        for (int x = 0; x < width_; ++x) {
          kernels_->store(out_.dtype(), row + 3 * x, 3, out_.row(r * width_ + x));
        }
      }
    });
    return wrong;
  }

 private:
  Frame frame(std::int64_t v, std::int64_t k) const {
    const std::int64_t at = v * frames_.shape()[1] + k;
    return {frames_.as<std::uint8_t>() + at * frames_.shape()[2],
            tables_.as<std::int32_t>() + at * table::size(height_, width_),
            weights_.as<float>() + at * weights_.shape()[2]};
  }

  bool make_row(std::int64_t v, int y, float* row) const noexcept {
    const Frame first = frame(v, 0);
    for (int x = 0; x < width_; ++x) {
      for (int c = 0; c < 3; ++c) row[3 * x + c] = first.value(c, 0);
    }
    for (std::int64_t k = 0; k < frames_.shape()[1]; ++k) {
      const Frame f = frame(v, k);
      const int down = y - f.field(table::kTop);
      if (down < 0 || down >= f.field(table::kRows)) continue;
      if (std::int64_t{3} * f.field(table::kHeight) * f.field(table::kWidth) > frames_.shape()[2]) {
        return false;
      }
      bars(f, row);
      const int i = y - f.field(table::kInnerTop);
      if (i >= 0 && i < f.field(table::kInnerRows)) {
        f.smooth() ? floats(f, i, row) : bytes(f, i, row);
      }
    }
    return true;
  }

  void bars(const Frame& f, float* row) const noexcept {
    const float bar = f.smooth() ? f.weights[table::kBar] : 0.0f;
    for (int c = 0; c < 3; ++c) {
      const float v = f.value(c, 0) + bar * (f.value(c, 255) - f.value(c, 0));
      for (int x = 0; x < f.field(table::kColumns); ++x)
        row[3 * (f.field(table::kLeft) + x) + c] = v;
    }
  }

  // Pixel x of the frame's row y, which is turned where the table says so; neighbours are `step`
  // apart.
  struct Line {
    const std::uint8_t* first;
    std::ptrdiff_t step;
  };
  static Line line(const Frame& f, int y) noexcept {
    const std::int64_t height = f.field(table::kHeight), width = f.field(table::kWidth);
    if (f.field(table::kTurned) == 0) return {f.data + y * width * 3, 3};
    return {f.data + ((height - y) * width - 1) * 3, -3};
  }

  // For each inner column: use(column, first tap's pixel, weights, their number).
  template <class F>
  void columns(const Frame& f, const Line& in, const F& use) const noexcept {
    const std::int32_t* first = f.numbers + table::first_column(height_);
    const std::int32_t* begin = f.numbers + table::column_weights(height_, width_);
    for (int x = 0; x < f.field(table::kInnerColumns); ++x) {
      use(x, in.first + first[x] * in.step, f.weights + begin[x], begin[x + 1] - begin[x]);
    }
  }

  void bytes(const Frame& f, int i, float* row) const noexcept {
    constexpr std::int32_t kHalf = 1 << (table::kFraction - 1);
    auto* sums = reinterpret_cast<std::int32_t*>(row + width_ * 3);
    const int inner = 3 * f.field(table::kInnerColumns);
    std::fill_n(sums, inner, kHalf);
    const std::int32_t* begin = f.numbers + table::row_weights(height_) + i;
    for (int j = begin[0]; j < begin[1]; ++j) {
      const Line in = line(f, f.numbers[table::first_row() + i] + j - begin[0]);
      const auto down = static_cast<std::int32_t>(f.weights[j]);
      columns(f, in, [&](int x, const std::uint8_t* p, const float* w, int count) {
        std::int32_t sum[3] = {kHalf, kHalf, kHalf};
        for (int k = 0; k < count; ++k, p += in.step) {
          const auto weight = static_cast<std::int32_t>(w[k]);
          for (int c = 0; c < 3; ++c) sum[c] += p[c] * weight;
        }
        for (int c = 0; c < 3; ++c) sums[3 * x + c] += rounded(sum[c]) * down;
      });
    }
    float* to = row + 3 * f.field(table::kInnerLeft);
    for (int x = 0; x < inner; ++x) to[x] = f.value(x % 3, rounded(sums[x]));
  }

  void floats(const Frame& f, int i, float* row) const noexcept {
    float* sums = row + width_ * 3;
    const int inner = 3 * f.field(table::kInnerColumns);
    std::fill_n(sums, inner, 0.0f);
    const std::int32_t* begin = f.numbers + table::row_weights(height_) + i;
    for (int j = begin[0]; j < begin[1]; ++j) {
      const Line in = line(f, f.numbers[table::first_row() + i] + j - begin[0]);
      columns(f, in, [&](int x, const std::uint8_t* p, const float* w, int count) {
        float sum[3] = {0, 0, 0};
        for (int k = 0; k < count; ++k, p += in.step) {
          for (int c = 0; c < 3; ++c) sum[c] += static_cast<float>(p[c]) / 255.0f * w[k];
        }
        for (int c = 0; c < 3; ++c) sums[3 * x + c] += sum[c] * f.weights[j];
      });
    }
    float* to = row + 3 * f.field(table::kInnerLeft);
    for (int x = 0; x < inner; ++x) {
      const float low = f.value(x % 3, 0), high = f.value(x % 3, 255);
      to[x] = low + std::clamp(sums[x], f.weights[table::kBar], 1.0f) * (high - low);
    }
  }

  View frames_, tables_, weights_, out_;
  int height_, width_;
  const Kernels* kernels_;
  Own<float> buffer_;
};

}  // namespace

void plan(Planner& planner, const ops::Resize& op) {
  planner.add(std::make_unique<Resize>(planner, op));
}

}  // namespace tendon::cpu
