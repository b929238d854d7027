#include "backends/reference/act.h"
#include "backends/reference/planner.h"
#include "backends/reference/product.h"

namespace tendon::reference {
namespace {

struct LinearStep {
  View x, residual, out;
  const Matrix& weight;
  const float* bias;
  Act kind;
  Table gate;
  int threads;

  template <class A>
  void operator()(A) const {
    std::vector<float> rows(static_cast<std::size_t>(x.shape.numel()));
    parallel_for(threads, x.rows(),
                 [&](std::int64_t r) { x.load(r, 0, x.width(), rows.data() + r * x.width()); });
    product<A>(weight, rows, threads,
               [&](std::int64_t r, std::int64_t first, std::int64_t count, A* y) {
                 finish(r, first, count, y);
               });
  }

  template <class A>
  void finish(std::int64_t r, std::int64_t first, std::int64_t count, A* y) const {
    A gates[Matrix::kPanel], kept[Matrix::kPanel];
    if (gate) gate.load(r, first, count, gates);
    if (residual) residual.load(r, first, count, kept);
    for (std::int64_t j = 0; j < count; ++j) {
      if (bias) y[j] += bias[first + j];
      y[j] = act(kind, y[j]);
      if (gate) y[j] *= gates[j];
      if (residual) y[j] += kept[j];
    }
    out.store(r, first, count, y);
  }
};

}  // namespace

void plan(Planner& p, const ops::Linear& op) {
  p.step(LinearStep{p.view(op.x), p.view(op.residual), p.view(op.out), p.matrix(op.weight),
                    p.vector(op.bias), op.act, p.table(op.gate, op.out), p.threads()});
}

}  // namespace tendon::reference
