// A convolution as a product over unfolded rows; 1 x 1 kernels multiply the pixels in place.
#include "backends/cuda/pixels.h"
#include "backends/cuda/product.h"
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

// The product's output, epilogue included, from rows at `x` (or unfolded into temporary memory).
void plan_rows(Planner& planner, const ops::Conv2d& op, Product p) {
  const Finish finish{op.bias, op.act, op.residual, p.k};
  p.out = planner.rows(op.out);
  if (library_finishes(planner, finish, op.out, p.in)) {
    plan_product(planner, p, library_extras(planner, finish, op.out));
    return;
  }
  EpilogueArgs args{.bias = planner.weights().vector(op.bias),
                    .curve = curve_of(op.act),
                    .residual = planner.rows(op.residual),
                    .out = planner.rows(op.out)};
  const int vector = vector_width({args.residual, args.out});
  const Scratch acc = plan_product_to_scratch(planner, p, DType::f32);
  planner.launch([acc, args, vector](cudaStream_t stream) {
    launch_epilogue(static_cast<const float*>(acc.get()), args, vector, stream);
  });
}

}  // namespace

void plan(Planner& planner, const ops::Conv2d& op) {
  const DType in = product_dtype(planner, op.x, op.weight);
  const UnfoldArgs u = unfolding(planner, op, in);
  Product p{.weight = op.weight};
  p.n = static_cast<int>(planner.trace().shape(op.out)[3]), p.k = static_cast<int>(u.row),
  p.in = in;
  if (in_place(u, op)) {
    p.x = planner.rows(op.x);
    plan_rows(planner, op, p);
    return;
  }
  const std::size_t bytes = static_cast<std::size_t>(u.pixels * u.row) * size_of(in);
  const Scratch rows = planner.scratch(bytes);
  const int vector = unfold_vector(u);
  planner.launch(
      [u, rows, vector](cudaStream_t stream) { launch_unfold(u, rows.get(), vector, stream); });
  p.x = {nullptr, in, static_cast<int>(u.pixels), p.k, static_cast<int>(u.pixels), 0, u.row};
  p.scratch_x = rows;
  plan_rows(planner, op, p);
}

}  // namespace tendon::cuda
