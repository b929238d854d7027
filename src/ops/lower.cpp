// Definitions of the fused ops in basic ones.
#include "ops/trace.h"

namespace tendon {
namespace {

void define(const ops::GatedLinear& op, const std::string& label, Trace& to) {
  const Shape shape = to.shape(op.out);
  const DType dtype = to.dtype(op.out);
  const Value gate = to.make(dtype, shape);
  const Value up = to.make(dtype, shape);
  to.add(ops::Linear{.x = op.x, .weight = op.gate, .bias = op.gate_bias, .out = gate},
         label + ".gate");
  to.add(ops::Linear{.x = op.x, .weight = op.up, .bias = op.up_bias, .out = up}, label + ".up");
  to.add(ops::GatedAct{.gate = gate, .up = up, .act = op.act, .out = op.out}, label + ".act");
}

// A norm where there is one, then a rotation where there is one, ending in `out`.
struct Branch {
  Value from;
  WeightRef norm;
  bool rotate;
  Value out;
};

void define_branch(const ops::QkvRope& op, const Branch& branch, const std::string& label,
                   Trace& to) {
  if (!branch.out) return;
  Value x = branch.from;  // [B, S, H Dh]
  if (branch.norm) {
    const Value normed = to.make(to.dtype(branch.out), to.shape(x));
    to.add(ops::RmsNorm{.x = x, .weight = branch.norm, .eps = op.eps, .out = normed},
           label + ".norm");
    x = normed;
  }
  const Value heads = to.split_last(x, to.shape(branch.out)[-2]);
  if (branch.rotate && op.cos) {
    to.add(ops::Rope{.x = heads,
                     .cos = op.cos,
                     .sin = op.sin,
                     .positions = op.positions,
                     .style = op.style,
                     .out = branch.out},
           label + ".rope");
  } else {
    to.add(ops::Copy{.x = heads, .out = branch.out}, label + ".copy");
  }
}

void define(const ops::QkvRope& op, const std::string& label, Trace& to) {
  const std::int64_t n = to.program().weight(op.weight).shape[0];
  const std::int64_t kv = to.shape(op.k)[-2] * to.shape(op.k)[-1];
  const std::int64_t q = n - 2 * kv;
  Shape shape = to.shape(op.x);
  shape[-1] = n;
  const Value all = to.make(to.dtype(op.k), shape);
  to.add(ops::Linear{.x = op.x, .weight = op.weight, .bias = op.bias, .out = all}, label);
  if (op.q) {
    define_branch(op, {to.columns(all, 0, q), op.norm_q, true, op.q}, label + ".q", to);
  }
  define_branch(op, {to.columns(all, q, kv), op.norm_k, true, op.k}, label + ".k", to);
  define_branch(op, {to.columns(all, q + kv, kv), {}, false, op.v}, label + ".v", to);
}

template <class T>
concept Fused = requires(const T& op, const std::string& label, Trace& to) {
  define(op, label, to);
};

}  // namespace

bool lower(const Op& op, const std::string& label, Trace& to) {
  return std::visit(
      [&](const auto& x) {
        if constexpr (Fused<std::decay_t<decltype(x)>>) {
          define(x, label, to);
          return true;
        }
        return false;
      },
      op);
}

}  // namespace tendon
