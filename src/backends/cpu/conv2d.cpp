// A convolution is the product of windows with the weight's rows: gathered while they are packed,
// or, with tiles, read from a copy of the picture that has a border of zeros.
#include <cstring>

#include "backends/cpu/tile_product.h"
#include "backends/cpu/tiles.h"

namespace tendon::cpu {
namespace {

class Windows : public RowSource {
 public:
  Windows(const Planner& planner, const ops::Conv2d& op)
      : x_(planner.view(op.x)),
        stride_(op.stride),
        top_(op.pad[0]),
        left_(op.pad[1]),
        kernels_(&planner.kernels()) {
    const Shape& w = planner.trace().program().weight(op.weight).shape;
    const Shape& out = planner.trace().shape(op.out);
    height_ = w[1];
    width_ = w[2];
    rows_ = out[1];
    columns_ = out[2];
  }

  void pack(std::int64_t first, std::int64_t rows, std::int64_t group,
            float* out) const noexcept override {
    const std::int64_t run = width_ * x_.width();
    if (pack_together(first, rows, {out, group})) return;
    for (std::int64_t r = 0; r < rows; ++r) {
      const Corner at = corner(first + r);
      for (std::int64_t dy = 0; dy < height_; ++dy) {
        pack_line(at.b, at.y + dy, at.x, {out + dy * run * group + r, group});
      }
    }
  }

 private:
  struct Target {
    float* to;
    std::int64_t step;
  };

  struct Corner {  // of a window, possibly outside the picture
    std::int64_t b, y, x;
  };
  Corner corner(std::int64_t row) const {
    return {row / (rows_ * columns_), row / columns_ % rows_ * stride_ - top_,
            row % columns_ * stride_ - left_};
  }

  // Windows side by side within the picture: their lines are rows at one distance. False elsewhere.
  bool pack_together(std::int64_t first, std::int64_t rows, Target t) const noexcept {
    const Corner from = corner(first), to = corner(first + rows - 1);
    if (rows == 1 || from.b != to.b || from.y != to.y || from.x < 0 ||
        to.x + width_ > x_.shape()[2] || x_.stride(2) != x_.width()) {
      return false;
    }
    const std::int64_t run = width_ * x_.width();
    const auto bytes = stride_ * x_.width() * static_cast<std::int64_t>(size_of(x_.dtype()));
    for (std::int64_t dy = 0; dy < height_; ++dy, t.to += run * t.step) {
      const std::int64_t y = from.y + dy;
      if (y < 0 || y >= x_.shape()[1]) {
        std::fill_n(t.to, run * t.step, 0.0f);
      } else {
        const std::byte* line = x_.row((from.b * x_.shape()[1] + y) * x_.shape()[2] + from.x);
        kernels_->pack_group({x_.dtype(), line, bytes, rows, run, t.step, t.to});
      }
    }
    return true;
  }

  // One line of a window: width_ pixels from column x on, zeros outside the picture.
  void pack_line(std::int64_t b, std::int64_t y, std::int64_t x, Target t) const noexcept {
    const std::int64_t channels = x_.width();
    const bool inside = y >= 0 && y < x_.shape()[1];
    for (std::int64_t dx = 0; dx < width_; ++dx, t.to += channels * t.step) {
      const std::int64_t column = x + dx;
      if (inside && column >= 0 && column < x_.shape()[2]) {
        const std::byte* pixel = x_.row((b * x_.shape()[1] + y) * x_.shape()[2] + column);
        kernels_->pack_group({x_.dtype(), pixel, 0, 1, channels, t.step, t.to});
      } else {
        for (std::int64_t c = 0; c < channels; ++c) t.to[c * t.step] = 0;
      }
    }
  }

  View x_;
  std::int64_t stride_, top_, left_, height_ = 1, width_ = 1, rows_ = 1, columns_ = 1;
  const Kernels* kernels_;
};

// A weight whose channels are filled up with zeros; the copy is made where the weight is packed.
PackedMatrix widened(const PackedMatrix& w, std::int64_t channels, std::int64_t wide,
                     Memory& copy) {
  PackedMatrix out = w;
  out.k = w.k / channels * wide;
  out.panel_bytes = out.k * kTileColumns * 2;
  if (!w.data) return out;
  copy = Memory(static_cast<std::size_t>(out.panels * out.panel_bytes));
  std::memset(copy.data(), 0, copy.bytes());
  const auto place = [](std::int64_t panel, std::int64_t k, std::int64_t n) {
    return panel + (k / 2 * kTileColumns + n) * 4 + k % 2 * 2;
  };
  for (std::int64_t p = 0; p < w.panels; ++p) {
    for (std::int64_t k = 0; k < w.k; ++k) {
      const std::int64_t to = k / channels * wide + k % channels;
      for (std::int64_t n = 0; n < kTileColumns; ++n) {
        std::memcpy(copy.data() + place(p * out.panel_bytes, to, n),
                    w.data + place(p * w.panel_bytes, k, n), 2);
      }
    }
  }
  out.data = copy.data();
  return out;
}

// The lines of a window are runs of the bordered picture. Windows that move by one pixel are rows
// at one distance over all lines; those between the end of a line and the next are computed in
// vain.
class TileConvolution : public Step {
 public:
  TileConvolution(Planner& planner, const ops::Conv2d& op, ProductSpec spec)
      : x_(planner.view(op.x)), top_(op.pad[0]), left_(op.pad[1]) {
    const Shape& w = planner.trace().program().weight(op.weight).shape;
    const Shape &in = x_.shape(), &out = planner.trace().shape(op.out);
    lines_ = in[1] + op.pad[0] + op.pad[2];
    pixels_ = in[2] + op.pad[1] + op.pad[3];
    channels_ = x_.width();
    if (w[2] * channels_ % kTileDepth != 0) {
      channels_ = (channels_ + kTileDepth - 1) / kTileDepth * kTileDepth;
      spec.weight = widened(spec.weight, x_.width(), channels_, wide_weight_);
    }
    line_bytes_ = pixels_ * channels_ * 2;
    threads_ = planner.threads();
    TileRows rows{.taps = w[1], .tap_bytes = line_bytes_, .columns = out[2]};
    rows.row_bytes = op.stride * channels_ * 2;
    if (op.stride == 1) {
      rows.segments = in[0], rows.segment_bytes = lines_ * line_bytes_;
      rows.pitch = pixels_, rows.rows = (out[1] - 1) * pixels_ + out[2];
    } else {
      rows.segments = out[1], rows.segment_bytes = op.stride * line_bytes_;
      rows.pitch = rows.rows = out[2];
    }
    picture_ = planner.scratch(static_cast<std::size_t>(in[0] * lines_ * line_bytes_));
    rows.data = picture_;
    product_ = std::make_unique<TileProduct>(planner, rows, std::move(spec));
  }

  // Whether lines, where they are segments, are those of one picture.
  static bool suits(const Planner& planner, const ops::Conv2d& op) {
    const View x = planner.view(op.x);
    return x.dtype() == DType::bf16 && x.dense() && (op.stride == 1 || x.shape()[0] == 1) &&
           tiles_suit(planner, op.weight, kTileDepth);
  }

  // The picture is copied first.
  int phases() const override { return 1 + product_->phases(); }

  const char* run(const Worker& w) noexcept override {
    if (w.phase() > 0) return product_->run(Worker(w.index(), w.phase() - 1));
    split(w, threads_, x_.shape()[0] * lines_, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t line = begin; line < end; ++line) copy_line(line);
    });
    return nullptr;
  }

 private:
  void copy_line(std::int64_t line) const noexcept {
    std::byte* to = picture_ + line * line_bytes_;
    const std::int64_t y = line % lines_ - top_, height = x_.shape()[1];
    if (y < 0 || y >= height) {
      std::memset(to, 0, static_cast<std::size_t>(line_bytes_));
      return;
    }
    const std::int64_t from = x_.width() * 2, pixel = channels_ * 2, width = x_.shape()[2];
    const std::byte* pixels = x_.row((line / lines_ * height + y) * width);
    if (from == pixel) {
      std::memset(to, 0, static_cast<std::size_t>(left_ * pixel));
      std::memcpy(to + left_ * pixel, pixels, static_cast<std::size_t>(width * pixel));
      std::memset(to + (left_ + width) * pixel, 0,
                  static_cast<std::size_t>((pixels_ - left_ - width) * pixel));
      return;
    }
    std::memset(to, 0, static_cast<std::size_t>(line_bytes_));
    for (std::int64_t x = 0; x < width; ++x) {
      std::memcpy(to + (left_ + x) * pixel, pixels + x * from, static_cast<std::size_t>(from));
    }
  }

  View x_;
  std::int64_t top_, left_, lines_ = 0, pixels_ = 0, line_bytes_ = 0;  // with the border
  std::int64_t channels_ = 0;                                          // of a pixel of the copy
  Memory wide_weight_;
  std::byte* picture_ = nullptr;
  std::unique_ptr<TileProduct> product_;
};

bool plain_rows(const Planner& planner, const ops::Conv2d& op) {
  const Shape& w = planner.trace().program().weight(op.weight).shape;
  return w[1] == 1 && w[2] == 1 && op.stride == 1 && op.pad == std::array<std::int64_t, 4>{};
}

}  // namespace

void plan(Planner& planner, const ops::Conv2d& op) {
  ProductSpec spec;
  spec.epilogue.out = planner.view(op.out);
  spec.epilogue.residual = planner.view(op.residual);
  spec.epilogue.bias = planner.weights().vector(op.bias);
  spec.epilogue.act = op.act;
  spec.rows = spec.epilogue.out.rows();
  spec.weight = planner.weights().matrix(op.weight);
  if (TileConvolution::suits(planner, op)) {
    planner.add(std::make_unique<TileConvolution>(planner, op, std::move(spec)));
    return;
  }
  if (plain_rows(planner, op)) {
    spec.x = planner.view(op.x);
  } else {
    spec.source = std::make_unique<Windows>(planner, op);
  }
  planner.add(std::make_unique<Product>(planner, std::move(spec)));
}

}  // namespace tendon::cpu
