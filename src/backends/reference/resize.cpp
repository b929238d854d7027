#include <algorithm>
#include <cmath>

#include "backends/reference/planner.h"
#include "base/error.h"
#include "base/frame_table.h"

namespace tendon::reference {
namespace {

namespace table = frame_table;

// One frame with its table.
struct Frame {
  const std::uint8_t* data = nullptr;
  const std::int32_t* numbers = nullptr;
  const float* weights = nullptr;
  std::int64_t bytes = 0, weight_count = 0;  // there are
  int picture_height = 0, picture_width = 0;

  int field(table::Field f) const { return numbers[f]; }
  bool has(int y, int x) const {
    return y >= field(table::kTop) && y < field(table::kTop) + field(table::kRows) &&
           x >= field(table::kLeft) && x < field(table::kLeft) + field(table::kColumns);
  }
  // Taps of inner row or column i.
  struct Taps {
    int first, begin, end;
  };
  Taps row_taps(int i) const {
    const std::int32_t* begin = numbers + table::row_weights(picture_height) + i;
    return in_range({numbers[table::first_row() + i], begin[0], begin[1]}, table::kHeight);
  }
  Taps column_taps(int i) const {
    const std::int32_t* begin = numbers + table::column_weights(picture_height, picture_width) + i;
    return in_range({numbers[table::first_column(picture_height) + i], begin[0], begin[1]},
                    table::kWidth);
  }
  std::uint8_t byte(int y, int x, int c) const {
    const std::int64_t height = field(table::kHeight), width = field(table::kWidth);
    if (field(table::kTurned))
      y = static_cast<int>(height) - 1 - y, x = static_cast<int>(width) - 1 - x;
    return data[(y * width + x) * 3 + c];
  }
  void check() const {
    const std::int64_t height = field(table::kHeight), width = field(table::kWidth);
    require(height > 0 && width > 0 && height * width * 3 <= bytes,
            "resize: a frame of {} x {} in {} bytes", height, width, bytes);
    require(
        field(table::kInnerRows) <= picture_height && field(table::kInnerColumns) <= picture_width,
        "resize: more rows or columns than the picture has");
  }

 private:
  Taps in_range(Taps t, table::Field side) const {
    require(t.first >= 0 && t.begin >= table::kTaps && t.end >= t.begin && t.end <= weight_count &&
                t.first + t.end - t.begin <= field(side),
            "resize: taps {} to {} from pixel {} on are outside of the frame", t.begin, t.end,
            t.first);
    return t;
  }
};

std::int64_t rounded(std::int64_t sum) {
  return std::clamp<std::int64_t>(sum >> table::kFraction, 0, 255);
}

template <class A>
double pixel(const Frame& f, const Frame::Taps& rows, const Frame::Taps& columns, int c) {
  if (f.field(table::kSmooth) == 0) {
    constexpr std::int64_t kHalf = std::int64_t{1} << (table::kFraction - 1);
    std::int64_t sum = kHalf;
    for (int j = rows.begin; j < rows.end; ++j) {
      std::int64_t across = kHalf;
      for (int i = columns.begin; i < columns.end; ++i) {
        across += f.byte(rows.first + j - rows.begin, columns.first + i - columns.begin, c) *
                  static_cast<std::int64_t>(f.weights[i]);
      }
      sum += rounded(across) * static_cast<std::int64_t>(f.weights[j]);
    }
    return f.weights[table::kValues + 256 * c + rounded(sum)];
  }
  A sum = 0;
  for (int j = rows.begin; j < rows.end; ++j) {
    A across = 0;
    for (int i = columns.begin; i < columns.end; ++i) {
      across += A(f.byte(rows.first + j - rows.begin, columns.first + i - columns.begin, c)) /
                A(255) * A(f.weights[i]);
    }
    sum += across * A(f.weights[j]);
  }
  const float* values = f.weights + table::kValues + 256 * c;
  const A bar = A(f.weights[table::kBar]);
  return A(values[0]) + std::clamp(sum, bar, A(1)) * (A(values[255]) - A(values[0]));
}

double bar(const Frame& f, int c) {
  const float* values = f.weights + table::kValues + 256 * c;
  if (f.field(table::kSmooth) == 0) return values[0];
  return values[0] + f.weights[table::kBar] * (values[255] - values[0]);
}

struct ResizeStep {
  View frames, tables, weights, out;
  int threads;

  Frame frame(std::int64_t v, std::int64_t k) const {
    const std::int64_t count = frames.shape[1], at = v * count + k;
    Frame f{.data = frames.as<std::uint8_t>() + at * frames.shape[2],
            .weights = weights.as<float>() + at * weights.shape[2],
            .bytes = frames.shape[2],
            .weight_count = weights.shape[2],
            .picture_height = static_cast<int>(out.shape[1]),
            .picture_width = static_cast<int>(out.shape[2])};
    f.numbers = tables.as<std::int32_t>() + at * table::size(f.picture_height, f.picture_width);
    return f;
  }

  template <class A>
  void operator()(A) const {
    parallel_for(threads, out.shape[0] * out.shape[1], [&](std::int64_t row) {
      const std::int64_t v = row / out.shape[1];
      const int y = static_cast<int>(row % out.shape[1]);
      for (int x = 0; x < out.shape[2]; ++x) {
        double pixels[3];
        one<A>(v, y, x, pixels);
        out.store(row * out.shape[2] + x, 0, 3, pixels);
      }
    });
  }

  template <class A>
  void one(std::int64_t v, int y, int x, double* to) const {
    for (int c = 0; c < 3; ++c) to[c] = frame(v, 0).weights[table::kValues + 256 * c];
    for (std::int64_t k = 0; k < frames.shape[1]; ++k) {
      const Frame f = frame(v, k);
      if (!f.has(y, x)) continue;
      f.check();
      const int i = y - f.field(table::kInnerTop), j = x - f.field(table::kInnerLeft);
      const bool inside =
          i >= 0 && i < f.field(table::kInnerRows) && j >= 0 && j < f.field(table::kInnerColumns);
      for (int c = 0; c < 3; ++c) {
        to[c] = inside ? pixel<A>(f, f.row_taps(i), f.column_taps(j), c) : bar(f, c);
      }
    }
  }
};

}  // namespace

void plan(Planner& p, const ops::Resize& op) {
  p.step(ResizeStep{p.view(op.frames), p.view(op.tables), p.view(op.weights), p.view(op.out),
                    p.threads()});
}

}  // namespace tendon::reference
