#include "backends/reference/planner.h"
#include "base/error.h"

namespace tendon::reference {
namespace {

struct RopeStep {
  View x, cos, sin, positions, out;
  ops::RopeStyle style;
  int threads;

  template <class A>
  void operator()(A) const {
    const std::int64_t heads = x.shape[2], tokens = x.shape[0] * x.shape[1];
    const std::int64_t given = positions.shape.numel(), half = x.width() / 2;
    parallel_for(threads, tokens, [&](std::int64_t t) {
      const std::int64_t at = positions.integer(t % given);
      require(at >= 0 && at < cos.shape[0], "rope: position {} of {}", at, cos.shape[0]);
      std::vector<A> c(static_cast<std::size_t>(half)), s(c.size()), row(c.size() * 2);
      cos.load(at, 0, half, c.data());
      sin.load(at, 0, half, s.data());
      for (std::int64_t h = t * heads; h < (t + 1) * heads; ++h) {
        x.load(h, 0, x.width(), row.data());
        rotate(c, s, row);
        out.store(h, 0, x.width(), row.data());
      }
    });
  }

  template <class A>
  void rotate(const std::vector<A>& c, const std::vector<A>& s, std::vector<A>& row) const {
    const bool split = style == ops::RopeStyle::split_half;
    for (std::size_t i = 0; i < c.size(); ++i) {
      A& first = split ? row[i] : row[2 * i];
      A& second = split ? row[i + c.size()] : row[2 * i + 1];
      const A a = first, b = second;
      first = a * c[i] - b * s[i];
      second = b * c[i] + a * s[i];
    }
  }
};

}  // namespace

void plan(Planner& p, const ops::Rope& op) {
  p.step(RopeStep{p.view(op.x), p.view(op.cos), p.view(op.sin), p.view(op.positions),
                  p.view(op.out), op.style, p.threads()});
}

}  // namespace tendon::reference
