#include <cmath>

#include "backends/reference/modulation.h"

namespace tendon::reference {
namespace {

struct LayerNormStep {
  View x, out;
  const float *weight, *bias;
  float eps;
  Modulation modulation;
  int threads;

  template <class A>
  void operator()(A) const {
    parallel_for(threads, x.rows(), [&](std::int64_t r) {
      std::vector<A> n(static_cast<std::size_t>(x.width()));
      x.load(r, 0, x.width(), n.data());
      A sum = 0, squares = 0;
      for (A v : n) sum += v;
      const A mean = sum / A(n.size());
      for (A v : n) squares += (v - mean) * (v - mean);
      const A factor = A(1) / std::sqrt(squares / A(n.size()) + A(eps));
      for (std::size_t i = 0; i < n.size(); ++i) {
        n[i] = (n[i] - mean) * factor;
        if (weight) n[i] *= weight[i];
        if (bias) n[i] += bias[i];
      }
      modulation.apply(r, n);
      out.store(r, 0, x.width(), n.data());
    });
  }
};

}  // namespace

void plan(Planner& p, const ops::LayerNorm& op) {
  p.step(LayerNormStep{p.view(op.x),
                       p.view(op.out),
                       p.vector(op.weight),
                       p.vector(op.bias),
                       op.eps,
                       {p.table(op.scale, op.out), p.table(op.shift, op.out)},
                       p.threads()});
}

}  // namespace tendon::reference
