#include <cmath>

#include "backends/reference/modulation.h"

namespace tendon::reference {
namespace {

struct RmsNormStep {
  View x, out;
  const float* weight;
  float weight_offset, eps;
  Modulation modulation;
  int threads;

  template <class A>
  void operator()(A) const {
    parallel_for(threads, x.rows(), [&](std::int64_t r) {
      std::vector<A> n(static_cast<std::size_t>(x.width()));
      x.load(r, 0, x.width(), n.data());
      A squares = 0;
      for (A v : n) squares += v * v;
      const A factor = A(1) / std::sqrt(squares / A(n.size()) + A(eps));
      for (std::size_t i = 0; i < n.size(); ++i) {
        n[i] *= factor;
        if (weight) n[i] *= A(weight_offset) + A(weight[i]);
      }
      modulation.apply(r, n);
      out.store(r, 0, x.width(), n.data());
    });
  }
};

}  // namespace

void plan(Planner& p, const ops::RmsNorm& op) {
  p.step(RmsNormStep{p.view(op.x),
                     p.view(op.out),
                     p.vector(op.weight),
                     op.weight_offset,
                     op.eps,
                     {p.table(op.scale, op.out), p.table(op.shift, op.out)},
                     p.threads()});
}

}  // namespace tendon::reference
