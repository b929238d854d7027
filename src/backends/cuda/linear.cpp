#include "backends/cuda/product.h"

namespace tendon::cuda {

void plan(Planner& planner, const ops::Linear& op) {
  const DType in = product_dtype(planner, op.x, op.weight);
  Product p{.x = planner.rows(op.x), .out = planner.rows(op.out), .weight = op.weight};
  p.n = p.out.width, p.k = p.x.width, p.in = in;
  const Finish finish{op.bias, op.act, op.residual, p.k, op.out};
  plan_finished(planner, p, finish,
                {.bias = planner.weights().vector(op.bias),
                 .curve = curve_of(op.act),
                 .gate = planner.table(op.gate, p.out.count),
                 .residual = planner.rows(op.residual),
                 .out = p.out});
}

}  // namespace tendon::cuda
