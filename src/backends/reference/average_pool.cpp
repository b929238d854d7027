#include "backends/reference/planner.h"

namespace tendon::reference {
namespace {

struct AveragePoolStep {
  View x, residual, out;
  std::int64_t channel_step, channel_offset;
  int threads;

  template <class A>
  void operator()(A) const {
    parallel_for(threads, out.rows(), [&](std::int64_t r) {
      const std::int64_t column = r % out.shape[2], row = r / out.shape[2] % out.shape[1];
      const std::int64_t sample = r / (out.shape[1] * out.shape[2]);
      std::vector<A> sum(static_cast<std::size_t>(out.width()), A(0)), from(sum.size());
      std::vector<A> pixel(static_cast<std::size_t>(x.width()));
      for (std::int64_t i = 0; i < 4; ++i) {
        const std::int64_t y = 2 * row + i / 2, at = 2 * column + i % 2;
        x.load((sample * x.shape[1] + y) * x.shape[2] + at, 0, x.width(), pixel.data());
        for (std::int64_t c = 0; c < x.width(); ++c) {
          sum[c * channel_step + channel_offset] += pixel[c];
        }
      }
      if (residual) residual.load(r, 0, out.width(), from.data());
      for (std::size_t c = 0; c < sum.size(); ++c) sum[c] = sum[c] * A(0.25) + from[c];
      out.store(r, 0, out.width(), sum.data());
    });
  }
};

}  // namespace

void plan(Planner& p, const ops::AveragePool& op) {
  p.step(AveragePoolStep{p.view(op.x), p.view(op.residual), p.view(op.out), op.channel_step,
                         op.channel_offset, p.threads()});
}

}  // namespace tendon::reference
