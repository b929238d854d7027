#include "backends/reference/act.h"
#include "backends/reference/planner.h"
#include "backends/reference/product.h"

namespace tendon::reference {
namespace {

struct Conv2dStep {
  View x, residual, out;
  const Matrix& weight;  // [O, kh kw C]
  const float* bias;
  ops::Conv2d op;
  std::int64_t kernel_rows, kernel_columns;
  int threads;

  template <class A>
  void operator()(A) const {
    constexpr std::int64_t kPixels = 2048;  // patches held at a time
    for (std::int64_t first = 0; first < out.rows(); first += kPixels) {
      const std::int64_t count = std::min(kPixels, out.rows() - first);
      const std::vector<float> patches = gather(first, count);
      product<A>(weight, patches, threads,
                 [&](std::int64_t r, std::int64_t channel, std::int64_t channels, A* y) {
                   finish(first + r, channel, channels, y);
                 });
    }
  }

  // [count, kh kw C]: what each output pixel sees, zeros outside the picture.
  std::vector<float> gather(std::int64_t first, std::int64_t count) const {
    const std::int64_t channels = x.shape[3], width = kernel_rows * kernel_columns * channels;
    std::vector<float> patches(static_cast<std::size_t>(count * width), 0.0f);
    parallel_for(threads, count, [&](std::int64_t i) {
      const std::int64_t pixel = first + i, column = pixel % out.shape[2];
      const std::int64_t row = pixel / out.shape[2] % out.shape[1];
      const std::int64_t sample = pixel / (out.shape[1] * out.shape[2]);
      for (std::int64_t ky = 0; ky < kernel_rows; ++ky) {
        const std::int64_t y = row * op.stride + ky - op.pad[0];
        for (std::int64_t kx = 0; kx < kernel_columns; ++kx) {
          const std::int64_t at = column * op.stride + kx - op.pad[1];
          if (y < 0 || y >= x.shape[1] || at < 0 || at >= x.shape[2]) continue;
          x.load((sample * x.shape[1] + y) * x.shape[2] + at, 0, channels,
                 patches.data() + i * width + (ky * kernel_columns + kx) * channels);
        }
      }
    });
    return patches;
  }

  template <class A>
  void finish(std::int64_t r, std::int64_t first, std::int64_t count, A* y) const {
    A kept[Matrix::kPanel];
    if (residual) residual.load(r, first, count, kept);
    for (std::int64_t j = 0; j < count; ++j) {
      if (bias) y[j] += bias[first + j];
      y[j] = act(op.act, y[j]);
      if (residual) y[j] += kept[j];
    }
    out.store(r, first, count, y);
  }
};

}  // namespace

void plan(Planner& p, const ops::Conv2d& op) {
  const Shape& kernel = p.in_program(op.weight).shape;
  p.step(Conv2dStep{p.view(op.x), p.view(op.residual), p.view(op.out), p.matrix(op.weight),
                    p.vector(op.bias), op, kernel[1], kernel[2], p.threads()});
}

}  // namespace tendon::reference
