#include "backends/reference/planner.h"
#include "base/error.h"

namespace tendon::reference {

void plan(Planner& p, const ops::GatherRows& op) {
  p.step([x = p.view(op.x), index = p.view(op.index), out = p.view(op.out),
          threads = p.threads()](auto) {
    const std::vector<double> zeros(static_cast<std::size_t>(out.width()), 0.0);
    parallel_for(threads, out.rows(), [&](std::int64_t r) {
      const std::int64_t from = index.integer(r);
      require(from < x.rows(), "gather_rows: row {} of {} is asked for", from, x.rows());
      if (from < 0) {
        out.store(r, 0, out.width(), zeros.data());
      } else {
        move_row(x, from, out, r);
      }
    });
  });
}

}  // namespace tendon::reference
