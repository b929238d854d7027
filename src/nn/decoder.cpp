#include "nn/decoder.h"

#include <cmath>

namespace tendon::nn {

Value decoder_layer(const Recorder& r, Value x, const DecoderLayer& layer, const LayerCall& call) {
  const Value n = r.rms_norm("norm1", x, layer.norm1, call.modulation[0]);
  const auto p = r.qkv("qkv", n, layer.qkv, call.rotation, call.to);
  if (layer.qkv.heads == 0) return {};
  const float scale = 1.0f / std::sqrt(static_cast<float>(layer.qkv.head_dim));
  const Value a =
      r.attention("attention", p.q, call.keys, {.scale = scale, .visible = call.visible});
  x = r.linear("o", a, layer.out, {.gate = call.gates[0], .residual = x});
  return r.gated_mlp(r.rms_norm("norm2", x, layer.norm2, call.modulation[1]), layer.mlp,
                     {.gate = call.gates[1], .residual = x});
}

Value mix_time(const Recorder& r, Value u, const RowTable& time, const TimeMixer& w,
               const LinearOptions& out) {
  Trace& t = r.trace();
  const Value row = t.make(DType::f32, {1, 1, t.shape(time.table)[1]});
  t.add(ops::GatherRows{.x = time.table, .index = time.rows, .out = row}, r.name("mix_time"));
  const Value mixed = r.linear("mix_action", u, w.action);
  const Value sum = t.make(t.dtype(mixed), t.shape(u)), hidden = t.make(t.dtype(mixed), t.shape(u));
  t.add(ops::Add{.a = mixed, .b = row, .out = sum}, r.name("mix_add"));
  t.add(ops::Activation{.x = sum, .act = Act::silu, .out = hidden}, r.name("mix_silu"));
  return r.linear("mix_out", hidden, w.out, out);
}

}  // namespace tendon::nn
