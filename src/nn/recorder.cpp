#include "nn/recorder.h"

#include "base/text.h"

namespace tendon::nn {

Value Recorder::linear(std::string_view op, Value x, const Linear& w,
                       const LinearOptions& o) const {
  Value out = o.into;
  if (!out) {
    Shape shape = trace_.shape(x);
    shape[-1] = trace_.program().weight(w.weight).shape[0];
    out = trace_.make(o.dtype.value_or(working_), shape);
  }
  trace_.add(ops::Linear{.x = x,
                         .weight = w.weight,
                         .bias = w.bias,
                         .act = o.act,
                         .gate = o.gate,
                         .residual = o.residual,
                         .out = out},
             name(op));
  return out;
}

template <class Op>
Value Recorder::normalise(std::string_view name, Op op, const Norm& w, const Modulation& m) const {
  const Value out = trace_.make(working_, trace_.shape(op.x));
  op.weight = w.weight, op.eps = w.eps, op.out = out;
  op.scale = m.scale, op.shift = m.shift;
  trace_.add(std::move(op), this->name(name));
  return out;
}

Value Recorder::rms_norm(std::string_view op, Value x, const Norm& w, const Modulation& m) const {
  return normalise(op, ops::RmsNorm{.x = x, .weight_offset = w.offset}, w, m);
}

Value Recorder::layer_norm(std::string_view op, Value x, const Norm& w, const Modulation& m) const {
  return normalise(op, ops::LayerNorm{.x = x, .bias = w.bias}, w, m);
}

Recorder::Projected Recorder::qkv(std::string_view op, Value x, const Qkv& w,
                                  const Rotation& rotation, const KeyValue& to) const {
  const Shape in = trace_.shape(x);
  const Shape kv{in[0], in[1], w.kv_heads, w.head_dim};
  Projected p;
  p.k = to.k ? to.k : trace_.make(working_, kv);
  p.v = to.v ? to.v : trace_.make(working_, kv);
  if (w.heads > 0) p.q = trace_.make(trace_.dtype(p.k), {kv[0], kv[1], w.heads, w.head_dim});
  trace_.add(ops::QkvRope{.x = x,
                          .weight = w.weights.weight,
                          .bias = w.weights.bias,
                          .norm_q = w.norm_q,
                          .norm_k = w.norm_k,
                          .cos = rotation.cos,
                          .sin = rotation.sin,
                          .positions = rotation.positions,
                          .style = rotation.style,
                          .q = p.q,
                          .k = p.k,
                          .v = p.v},
             name(op));
  return p;
}

Value Recorder::attention(std::string_view op, Value q,
                          const std::array<ops::Attention::Keys, 2>& keys,
                          const AttentionOptions& o) const {
  const Value out = trace_.make(working_, trace_.shape(q));
  trace_.add(ops::Attention{.q = q,
                            .keys = keys,
                            .score_bias = o.score_bias,
                            .scale = o.scale,
                            .visible = o.visible,
                            .out = out},
             name(op));
  return trace_.merge_last(out);
}

Value Recorder::cast(std::string_view op, Value x) const {
  const Value out = trace_.make(working_, trace_.shape(x));
  trace_.add(ops::Copy{.x = x, .out = out}, name(op));
  return out;
}

void Recorder::linear_columns(std::string_view op, Value x, std::span<const Linear> weights,
                              Value table) const {
  std::int64_t column = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const std::int64_t width = trace_.program().weight(weights[i].weight).shape[0];
    linear(numbered(op, i), x, weights[i], {.into = trace_.columns(table, column, width)});
    column += width;
  }
}

Value Recorder::gated_mlp(Value x, const GatedMlp& w, const LinearOptions& o) const {
  Shape shape = trace_.shape(x);
  shape[-1] = trace_.program().weight(w.gate.weight).shape[0];
  const Value hidden = trace_.make(working_, shape);
  trace_.add(ops::GatedLinear{.x = x,
                              .gate = w.gate.weight,
                              .gate_bias = w.gate.bias,
                              .up = w.up.weight,
                              .up_bias = w.up.bias,
                              .act = w.act,
                              .out = hidden},
             name("gate_up"));
  return linear("down", hidden, w.down, o);
}

}  // namespace tendon::nn
