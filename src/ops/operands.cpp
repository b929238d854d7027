// Which values an op touches, and how much work it is.
#include <algorithm>

#include "ops/trace.h"

namespace tendon {
namespace {

struct Collect {
  Operands all;
  void in(Value v) {
    if (v) all.inputs.push_back(v);
  }
  void in(const RowTable& t) {
    in(t.table);
    in(t.rows);
  }
  void in(WeightRef w) {
    if (w) all.weights.push_back(w);
  }
  template <class... T>
  void ins(const T&... t) {
    (in(t), ...);
  }
  void out(Value v) {
    if (v) all.outputs.push_back(v);
  }

  void operator()(const ops::Linear& o) {
    ins(o.x, o.weight, o.bias, o.gate, o.residual);
    out(o.out);
  }
  void operator()(const ops::GatedLinear& o) {
    ins(o.x, o.gate, o.gate_bias, o.up, o.up_bias);
    out(o.out);
  }
  void operator()(const ops::Conv2d& o) {
    ins(o.x, o.weight, o.bias, o.residual);
    out(o.out);
  }
  void operator()(const ops::Attention& o) {
    in(o.q);
    for (const auto& piece : o.keys) ins(piece.k, piece.v, piece.length, piece.bias);
    in(o.score_bias);
    out(o.out);
  }
  void operator()(const ops::RmsNorm& o) {
    ins(o.x, o.weight, o.scale, o.shift);
    out(o.out);
  }
  void operator()(const ops::LayerNorm& o) {
    ins(o.x, o.weight, o.bias, o.scale, o.shift);
    out(o.out);
  }
  void operator()(const ops::Rope& o) {
    ins(o.x, o.cos, o.sin, o.positions);
    out(o.out);
  }
  void operator()(const ops::QkvRope& o) {
    ins(o.x, o.weight, o.bias, o.norm_q, o.norm_k, o.cos, o.sin, o.positions);
    out(o.q);
    out(o.k);
    out(o.v);
  }
  void operator()(const ops::Embed& o) {
    ins(o.ids, o.table);
    out(o.out);
  }
  void operator()(const ops::Activation& o) {
    in(o.x);
    out(o.out);
  }
  void operator()(const ops::GatedAct& o) {
    ins(o.gate, o.up);
    out(o.out);
  }
  void operator()(const ops::Add& o) {
    ins(o.a, o.b);
    out(o.out);
  }
  void operator()(const ops::Mul& o) {
    ins(o.a, o.b);
    out(o.out);
  }
  void operator()(const ops::Axpy& o) {
    ins(o.x, o.v, o.scale);
    out(o.out);
  }
  void operator()(const ops::Select& o) {
    ins(o.mask, o.a, o.b);
    out(o.out);
  }
  void operator()(const ops::GatherRows& o) {
    ins(o.x, o.index);
    out(o.out);
  }
  void operator()(const ops::Copy& o) {
    in(o.x);
    out(o.out);
  }
  void operator()(const ops::SpaceToDepth& o) {
    in(o.x);
    out(o.out);
  }
  void operator()(const ops::AveragePool& o) {
    ins(o.x, o.residual);
    out(o.out);
  }
  void operator()(const ops::Resize& o) {
    ins(o.frames, o.tables, o.weights);
    out(o.out);
  }
};

// Values of which an op reads a row at a time, not all.
std::vector<Value> tables(const Op& op) {
  std::vector<Value> all;
  if (const auto* o = std::get_if<ops::Linear>(&op)) all = {o->gate.table};
  if (const auto* o = std::get_if<ops::RmsNorm>(&op)) all = {o->scale.table, o->shift.table};
  if (const auto* o = std::get_if<ops::LayerNorm>(&op)) all = {o->scale.table, o->shift.table};
  if (const auto* o = std::get_if<ops::Axpy>(&op)) all = {o->scale.table};
  if (const auto* o = std::get_if<ops::Rope>(&op)) all = {o->cos, o->sin};
  if (const auto* o = std::get_if<ops::QkvRope>(&op)) all = {o->cos, o->sin};
  if (const auto* o = std::get_if<ops::GatherRows>(&op)) all = {o->x};
  return all;
}

double value_bytes(const Trace& t, Value v) {
  return static_cast<double>(t.shape(v).numel()) * static_cast<double>(size_of(t.dtype(v)));
}

double weight_bytes(const Weight& w) {
  const bool wide = w.format == Format::f32 || w.shape.rank() == 1;
  return static_cast<double>(w.shape.numel()) * (wide ? 4.0 : 2.0);
}

double product(const Trace& t, Value x, const Shape& weight) {
  const double rows = static_cast<double>(t.shape(x).numel() / t.shape(x)[-1]);
  return 2.0 * rows * static_cast<double>(weight.numel());
}

struct Flops {
  const Trace& t;
  double operator()(const ops::Linear& o) const {
    return product(t, o.x, t.program().weight(o.weight).shape);
  }
  double operator()(const ops::GatedLinear& o) const {
    return 2.0 * product(t, o.x, t.program().weight(o.gate).shape);
  }
  double operator()(const ops::QkvRope& o) const {
    return product(t, o.x, t.program().weight(o.weight).shape);
  }
  double operator()(const ops::Conv2d& o) const {
    const Shape& w = t.program().weight(o.weight).shape;
    return 2.0 * static_cast<double>(t.shape(o.out).numel()) *
           static_cast<double>(w.numel() / w[0]);
  }
  double operator()(const ops::Attention& o) const {
    double keys = 0;
    for (const auto& piece : o.keys) {
      if (piece.k) keys += static_cast<double>(t.shape(piece.k)[1]);
    }
    return 4.0 * static_cast<double>(t.shape(o.q).numel()) * keys;
  }
  template <class T>
  double operator()(const T& o) const {
    return static_cast<double>(t.shape(o.out).numel());
  }
};

}  // namespace

Operands operands(const Op& op) {
  Collect collect;
  std::visit(collect, op);
  return std::move(collect.all);
}

Cost cost(const Op& op, const Trace& trace) {
  Cost c;
  c.flops = std::visit(Flops{trace}, op);
  const Operands all = operands(op);
  const bool table = std::holds_alternative<ops::Embed>(op);  // reads rows, not the whole table
  const std::vector<Value> by_row = tables(op);
  for (Value v : all.inputs) {
    if (std::find(by_row.begin(), by_row.end(), v) == by_row.end())
      c.bytes += value_bytes(trace, v);
  }
  for (Value v : all.outputs) c.bytes += value_bytes(trace, v) * (table ? 2.0 : 1.0);
  for (WeightRef w : all.weights) c.bytes += table ? 0.0 : weight_bytes(trace.program().weight(w));
  return c;
}

std::string_view name(const Op& op) {
  static constexpr std::string_view kNames[] = {
      "linear",       "gated_linear", "conv2d", "attention",   "rms_norm",  "layer_norm",
      "rope",         "qkv_rope",     "embed",  "activation",  "gated_act", "add",
      "mul",          "axpy",         "select", "gather_rows", "copy",      "space_to_depth",
      "average_pool", "resize"};
  static_assert(std::size(kNames) == std::variant_size_v<Op>);
  return kNames[op.index()];
}

}  // namespace tendon
