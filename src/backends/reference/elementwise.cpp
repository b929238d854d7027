// Activation, GatedAct, Add, Mul, Axpy: one element at a time.
#include "backends/reference/act.h"
#include "backends/reference/planner.h"

namespace tendon::reference {
namespace {

// out row = f(a row, b row), b broadcast over dimensions where it has 1; f works in place on a's
// row.
template <class F>
struct RowStep {
  View a, b, out;
  F f;
  int threads;

  template <class A>
  void operator()(A) const {
    parallel_for(threads, out.rows(), [&](std::int64_t r) {
      std::vector<A> x(static_cast<std::size_t>(out.width())), y(x.size());
      a.load(r, 0, out.width(), x.data());
      if (b) load_broadcast(r, y);
      f(r, x, y);
      out.store(r, 0, out.width(), x.data());
    });
  }

  template <class A>
  void load_broadcast(std::int64_t r, std::vector<A>& y) const {
    std::int64_t row = 0, step = 1;
    for (int i = out.shape.rank() - 2; i >= 0; --i) {
      row += r % out.shape[i] % b.shape[i] * step;
      step *= b.shape[i];
      r /= out.shape[i];
    }
    b.load(row, 0, b.width(), y.data());
    if (b.width() == 1) std::fill(y.begin() + 1, y.end(), y[0]);
  }
};

template <class F>
void plan_rows(Planner& p, std::array<Value, 3> operands, F f) {
  p.step(RowStep<F>{p.view(operands[0]), p.view(operands[1]), p.view(operands[2]), std::move(f),
                    p.threads()});
}

}  // namespace

void plan(Planner& p, const ops::Activation& op) {
  plan_rows(p, {op.x, Value{}, op.out}, [kind = op.act](std::int64_t, auto& x, auto&) {
    for (auto& v : x) v = act(kind, v);
  });
}

void plan(Planner& p, const ops::GatedAct& op) {
  plan_rows(p, {op.gate, op.up, op.out}, [kind = op.act](std::int64_t, auto& x, auto& y) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = act(kind, x[i]) * y[i];
  });
}

void plan(Planner& p, const ops::Add& op) {
  plan_rows(p, {op.a, op.b, op.out}, [](std::int64_t, auto& x, auto& y) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  });
}

void plan(Planner& p, const ops::Mul& op) {
  plan_rows(p, {op.a, op.b, op.out}, [](std::int64_t, auto& x, auto& y) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] *= y[i];
  });
}

void plan(Planner& p, const ops::Axpy& op) {
  plan_rows(
      p, {op.x, op.v, op.out},
      [scale = p.table(op.scale, op.out), factor = op.factor](std::int64_t r, auto& x, auto& y) {
        using A = typename std::decay_t<decltype(x)>::value_type;
        A step = 1;
        if (scale) scale.load(r, 0, 1, &step);
        step *= factor;
        for (std::size_t i = 0; i < x.size(); ++i) x[i] += step * y[i];
      });
}

}  // namespace tendon::reference
