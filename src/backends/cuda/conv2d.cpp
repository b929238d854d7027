// A convolution as a product over unfolded rows; 1 x 1 kernels multiply the pixels in place.
#include "backends/cuda/pixels.h"
#include "backends/cuda/product.h"
#include "backends/cuda/tiles.h"
#include "base/error.h"

namespace tendon::cuda {
namespace {

UnfoldArgs unfolding(const Planner& planner, const ops::Conv2d& op, DType in) {
  const Trace& t = planner.trace();
  const Shape &x = t.shape(op.x), &y = t.shape(op.out), &w = t.program().weight(op.weight).shape;
  UnfoldArgs u;
  u.x = planner.strided(op.x);
  u.height = static_cast<int>(x[1]), u.width = static_cast<int>(x[2]);
  u.channels = static_cast<int>(x[3]);
  u.out_height = static_cast<int>(y[1]), u.out_width = static_cast<int>(y[2]);
  u.kernel_y = static_cast<int>(w[1]), u.kernel_x = static_cast<int>(w[2]);
  u.stride = static_cast<int>(op.stride);
  u.top = static_cast<int>(op.pad[0]), u.left = static_cast<int>(op.pad[1]);
  u.pixels = y[0] * y[1] * y[2];
  u.row = w[1] * w[2] * w[3];
  u.dtype = in;
  return u;
}

bool in_place(const UnfoldArgs& u, const ops::Conv2d& op) {
  const std::int64_t padding = op.pad[0] + op.pad[1] + op.pad[2] + op.pad[3];
  return u.kernel_y == 1 && u.kernel_x == 1 && u.stride == 1 && padding == 0;
}

int unfold_vector(const UnfoldArgs& u) {
  const std::int64_t unit = 16 / static_cast<std::int64_t>(size_of(u.x.dtype));
  const bool fits = u.channels % 8 == 0 && u.row % 8 == 0 && u.x.stride[0] % unit == 0 &&
                    u.x.stride[1] % unit == 0 && u.x.stride[2] % unit == 0 &&
                    reinterpret_cast<std::uintptr_t>(u.x.data) % 16 == 0;
  return fits ? 8 : 1;
}

TileConv boxes(const UnfoldArgs& u, std::int64_t batch) {
  TileConv v{.x = u.x, .batch = static_cast<int>(batch)};
  v.height = u.height, v.width = u.width, v.channels = u.channels;
  v.out_height = u.out_height, v.out_width = u.out_width;
  v.kernel_y = u.kernel_y, v.kernel_x = u.kernel_x, v.stride = u.stride;
  v.top = u.top, v.left = u.left;
  return v;
}

}  // namespace

void plan(Planner& planner, const ops::Conv2d& op) {
  const DType in = product_dtype(planner, op.x, op.weight);
  const UnfoldArgs u = unfolding(planner, op, in);
  Product p{.weight = op.weight};
  p.n = static_cast<int>(planner.trace().shape(op.out)[3]), p.k = static_cast<int>(u.row),
  p.in = in;
  p.out = planner.rows(op.out);
  const Finish finish{op.bias, op.act, op.residual, p.k, op.out};
  const EpilogueArgs end{.bias = planner.weights().vector(op.bias),
                         .curve = curve_of(op.act),
                         .residual = planner.rows(op.residual),
                         .out = p.out};
  if (in_place(u, op)) {
    p.x = planner.rows(op.x);
    plan_finished(planner, p, finish, end);
    return;
  }
  p.x = {nullptr, in, static_cast<int>(u.pixels), p.k, static_cast<int>(u.pixels), 0, u.row};
  const std::int64_t batch = planner.trace().shape(op.x)[0];
  plan_convolution(planner, p, {boxes(u, batch), end}, [&] {
    const Scratch rows = planner.scratch(static_cast<std::size_t>(u.pixels * u.row) * size_of(in));
    const int vector = unfold_vector(u);
    planner.launch(
        [u, rows, vector](cudaStream_t stream) { launch_unfold(u, rows.get(), vector, stream); });
    Product unfolded = p;
    unfolded.scratch_x = rows;
    plan_finished(planner, unfolded, finish, end);
  });
}

}  // namespace tendon::cuda
