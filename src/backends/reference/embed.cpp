#include "backends/reference/planner.h"
#include "base/error.h"

namespace tendon::reference {
namespace {

struct EmbedStep {
  View ids, out;
  const Weight& table;
  float scale;
  int threads;

  template <class A>
  void operator()(A) const {
    parallel_for(threads, out.rows(), [&](std::int64_t i) {
      const std::int64_t id = ids.integer(i);
      require(id >= 0 && id < table.shape[0], "embed: id {} of {} in {}", id, table.shape[0],
              table.name);
      std::vector<float> read(static_cast<std::size_t>(table.shape[1]));
      read_rounded(table, id, 1, read.data());
      std::vector<A> row(read.begin(), read.end());
      for (A& v : row) v *= scale;
      out.store(i, 0, out.width(), row.data());
    });
  }
};

}  // namespace

void plan(Planner& p, const ops::Embed& op) {
  p.step(EmbedStep{p.view(op.ids), p.view(op.out), p.in_place(op.table), op.scale, p.threads()});
}

}  // namespace tendon::reference
