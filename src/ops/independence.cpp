#include "ops/independence.h"

#include <set>

namespace tendon {
namespace {

struct Touched {
  std::set<std::int32_t> read, written;
};

Touched touched(const Trace& trace) {
  Touched t;
  const auto keep = [&](const std::vector<Value>& values, std::set<std::int32_t>& to) {
    for (const Value v : values) {
      const ValueInfo& info = trace.info(v);
      if (info.kind == ValueInfo::Kind::buffer) to.insert(info.buffer.id);
    }
  };
  for (const Op& op : trace.ops()) {
    const Operands o = operands(op);
    keep(o.inputs, t.read);
    keep(o.outputs, t.written);
  }
  return t;
}

bool meet(const std::set<std::int32_t>& a, const std::set<std::int32_t>& b) {
  for (const std::int32_t id : a) {
    if (b.count(id)) return true;
  }
  return false;
}

}  // namespace

bool clash(const Trace& a, const Trace& b) {
  const Touched x = touched(a), y = touched(b);
  return meet(x.written, y.read) || meet(x.written, y.written) || meet(x.read, y.written);
}

bool touches(const Trace& trace, BufferRef buffer) {
  const Touched t = touched(trace);
  return t.read.count(buffer.id) || t.written.count(buffer.id);
}

}  // namespace tendon
