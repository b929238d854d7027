#include "backends/cuda/product.h"

namespace tendon::cuda {

void plan(Planner& planner, const ops::Linear& op) {
  const DType in = product_dtype(planner, op.x, op.weight);
  Product p{.x = planner.rows(op.x), .out = planner.rows(op.out), .weight = op.weight};
  p.n = p.out.width, p.k = p.x.width, p.in = in;
  const Finish finish{op.bias, op.act, op.residual, p.k};
  if (!op.gate && library_finishes(planner, finish, op.out, in)) {
    plan_product(planner, p, library_extras(planner, finish, op.out));
    return;
  }
  EpilogueArgs args{.bias = planner.weights().vector(op.bias),
                    .curve = curve_of(op.act),
                    .gate = planner.table(op.gate, p.out.count),
                    .residual = planner.rows(op.residual),
                    .out = p.out};
  const int vector = std::min(vector_width({args.residual, p.out}), vector_width(args.gate, p.n));
  const Scratch acc = plan_product_to_scratch(planner, p, DType::f32);
  planner.launch([acc, args, vector](cudaStream_t stream) {
    launch_epilogue(static_cast<const float*>(acc.get()), args, vector, stream);
  });
}

}  // namespace tendon::cuda
