#include "backends/reference/planner.h"

namespace tendon::reference {

void plan(Planner& p, const ops::Select& op) {
  p.step([mask = p.view(op.mask), a = p.view(op.a), b = p.view(op.b), out = p.view(op.out),
          threads = p.threads()](auto) {
    parallel_for(threads, out.rows(),
                 [&](std::int64_t r) { move_row(mask.integer(r) ? a : b, r, out, r); });
  });
}

}  // namespace tendon::reference
