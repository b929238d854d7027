#include "backends/reference/planner.h"

#include "base/error.h"
#include "ops/arena.h"

namespace tendon::reference {

std::int64_t Table::row(std::int64_t r) const {
  if (!index) return 0;
  const std::int64_t n = index.shape.numel();
  const std::int64_t found = index.integer(r * n / rows);
  require(found >= 0 && found < table.shape[0], "row table: row {} of {} is asked for", found,
          table.shape[0]);
  return found;
}

Planner::Planner(const Trace& trace, const Memory& memory, WeightStore& weights,
                 Accumulate accumulate, int threads)
    : trace_(&trace),
      memory_(&memory),
      weights_(&weights),
      accumulate_(accumulate),
      threads_(threads),
      offset_(plan_arena(trace).offset) {}

void Planner::begin(const Op& op) {
  constexpr double kSmall = 1e5;  // flops and bytes: some tens of microseconds of one thread
  const Cost work = cost(op, *trace_);
  op_threads_ = work.flops + work.bytes < kSmall ? 1 : threads_;
}

View Planner::view(Value v) const {
  View view;
  if (!v) return view;
  const ValueInfo& info = trace_->info(v);
  view.dtype = info.dtype;
  view.shape = info.shape;
  view.strides = info.strides;
  switch (info.kind) {
    case ValueInfo::Kind::intermediate:
      view.data = memory_->arena + offset_[static_cast<std::size_t>(info.root)];
      break;
    case ValueInfo::Kind::buffer:
      view.data = memory_->buffers[static_cast<std::size_t>(info.buffer.id)];
      break;
    case ValueInfo::Kind::iteration:
      view.data = reinterpret_cast<std::byte*>(memory_->iteration);
      break;
  }
  view.data += info.offset * static_cast<std::int64_t>(size_of(info.dtype));
  return view;
}

Table Planner::table(const RowTable& table, Value out) const {
  return {view(table.table), view(table.rows), table.column, view(out).rows()};
}

}  // namespace tendon::reference
