#include "backends/cuda/norm.h"

namespace tendon::cuda {

void plan(Planner& planner, const ops::LayerNorm& op) {
  NormArgs a;
  a.x = planner.rows(op.x), a.out = planner.rows(op.out);
  a.weight = planner.weights().vector(op.weight);
  a.bias = planner.weights().vector(op.bias);
  a.eps = op.eps, a.centered = 1;
  a.scale = planner.table(op.scale, a.out.count);
  a.shift = planner.table(op.shift, a.out.count);
  plan_norm(planner, a);
}

}  // namespace tendon::cuda
