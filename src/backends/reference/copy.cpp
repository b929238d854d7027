#include "backends/reference/planner.h"

namespace tendon::reference {

void plan(Planner& p, const ops::Copy& op) {
  p.step([x = p.view(op.x), out = p.view(op.out), threads = p.threads()](auto) {
    parallel_for(threads, out.rows(), [&](std::int64_t r) { move_row(x, r, out, r); });
  });
}

}  // namespace tendon::reference
