#include "backends/cuda/product.h"

namespace tendon::cuda {

void plan(Planner& planner, const ops::GatedLinear& op) {
  const DType in = product_dtype(planner, op.x, op.gate);
  const DType other = product_dtype(planner, op.x, op.up);
  Product p{.x = planner.rows(op.x)};
  const device::RowsView out = planner.rows(op.out);
  p.in = in == other ? in : DType::f32;
  p.n = out.width, p.k = p.x.width;
  p.joined = planner.weights().joined(op.gate, op.up, p.in);
  GatedArgs args{.gate_bias = planner.weights().vector(op.gate_bias),
                 .up_bias = planner.weights().vector(op.up_bias),
                 .curve = curve_of(op.act),
                 .out = out};
  // In bf16 gate and up are rounded before the product of the two, as eager frameworks do.
  args.dtype = out.dtype == DType::bf16 && p.in == DType::bf16 ? DType::bf16 : DType::f32;
  plan_gated(planner, p, args);
}

}  // namespace tendon::cuda
