#include "backends/cuda/norm.h"

namespace tendon::cuda {
namespace {

NormArgs arguments(Planner& planner, const ops::RmsNorm& op) {
  NormArgs a;
  a.x = planner.rows(op.x), a.out = planner.rows(op.out);
  a.weight = planner.weights().vector(op.weight);
  a.offset = op.weight_offset, a.eps = op.eps;
  a.scale = planner.table(op.scale, a.out.count);
  a.shift = planner.table(op.shift, a.out.count);
  return a;
}

// Whether one row's result may land on what another row has yet to read.
bool overlap(const device::RowsView& a, const device::RowsView& b) {
  const bool same = a.data == b.data && a.dtype == b.dtype && a.rows == b.rows &&
                    a.row_stride == b.row_stride && a.batch_stride == b.batch_stride;
  if (same) return false;  // every thread writes what it alone has read
  const auto first = [](const device::RowsView& v) {
    return reinterpret_cast<std::uintptr_t>(v.data);
  };
  const auto last = [&](const device::RowsView& v) {
    return first(v) +
           static_cast<std::uint64_t>(v.offset(v.count - 1) + v.width) * size_of(v.dtype);
  };
  return first(a) < last(b) && first(b) < last(a);
}

// Whether nobody but one op reads a value, as a whole, and no tap keeps it.
bool read_once(const Trace& t, Value v) {
  int readers = 0;
  for (const Op& op : t.ops()) {
    for (const Value in : operands(op).inputs) readers += t.info(in).root == t.info(v).root;
  }
  for (const Trace::Tap& tap : t.taps()) readers += t.info(tap.value).root == t.info(v).root;
  return readers == 1 && t.info(v).kind == ValueInfo::Kind::intermediate;
}

}  // namespace

void plan(Planner& planner, const ops::RmsNorm& op) { plan_norm(planner, arguments(planner, op)); }

bool plan_pair(Planner& planner, const ops::RmsNorm& op, const ops::Activation& after) {
  const Trace& t = planner.trace();
  if (!(op.out == after.x) || t.dtype(op.out) != t.dtype(after.out) || !read_once(t, op.out)) {
    return false;
  }
  NormArgs a = arguments(planner, op);
  a.out = planner.rows(after.out), a.curve = curve_of(after.act);
  if (overlap(a.x, a.out)) return false;
  plan_norm(planner, a);
  return true;
}

}  // namespace tendon::cuda
