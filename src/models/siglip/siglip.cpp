#include "models/siglip/siglip.h"

#include <cmath>

#include "base/text.h"

namespace tendon::siglip {
namespace {

Value record_layer(const nn::Recorder& r, Value x, const Layer& w) {
  const auto p = r.qkv("qkv", r.layer_norm("norm1", x, w.norm1), w.qkv, {});
  const float scale = 1.0f / std::sqrt(static_cast<float>(w.qkv.head_dim));
  const Value a = r.attention("attention", p.q, {{{.k = p.k, .v = p.v}}}, {.scale = scale});
  x = r.linear("out", a, w.out, {.residual = x});
  const Value m = r.layer_norm("norm2", x, w.norm2);
  const Value hidden = r.linear("fc1", m, w.fc1, {.act = Act::gelu_tanh});
  return r.linear("fc2", hidden, w.fc2, {.residual = x});
}

}  // namespace

Weights bind(const nn::Bind& bind, const Scope& root, const Config& c) {
  const std::int64_t d = c.width, p = c.patch;
  Weights w;
  // Stored [D, 3, y, x]; patches are cut with the channel last.
  const Scope patch = root.at("embeddings.patch_embedding");
  w.patch.weight = bind.add(patch.view("weight", TensorView({d, 3, p, p}).permute({0, 2, 3, 1}),
                                       {d, 3 * p * p}, bind.body()));
  w.patch.bias = bind.add(patch.vector("bias", d, bind.body()));
  w.positions =
      bind.add(root.table("embeddings.position_embedding.weight", c.patches, d, bind.body()));
  const nn::HeadShape heads{d, c.heads, c.heads, d / c.heads};
  for (std::int64_t i = 0; i < c.layers; ++i) {
    const Scope at = root.at("encoder.layers", i);
    w.layers.push_back({.norm1 = bind.affine_norm(at, "layer_norm1", d),
                        .norm2 = bind.affine_norm(at, "layer_norm2", d),
                        .qkv = bind.qkv(at.at("self_attn"), "_proj", heads, nn::Bind::Biases::all),
                        .out = bind.linear(at, "self_attn.out_proj", {d, d}),
                        .fc1 = bind.linear(at, "mlp.fc1", {c.mlp, d}),
                        .fc2 = bind.linear(at, "mlp.fc2", {d, c.mlp})});
  }
  w.post = bind.affine_norm(root, "post_layernorm", d);
  return w;
}

Value record(const nn::Recorder& r, const Weights& w, Value patches, Value numbers) {
  constexpr DType kF32 = DType::f32;
  Trace& t = r.trace();
  const Shape cut = t.shape(patches);
  const std::int64_t cameras = cut[0], n = cut[1] * cut[2];
  const std::int64_t width = t.program().weight(w.positions).shape[1];
  const Value table = t.make(kF32, {1, n, width});
  t.add(ops::Embed{.ids = numbers, .table = w.positions, .out = table}, r.name("positions"));
  const Value rows = t.reshape(patches, {cameras, n, cut[3]});
  const Value projected = r.linear("patch", rows, w.patch, {.dtype = kF32});  // [V, N, D]
  const Value embed = t.make(kF32, {cameras, n, width});
  t.add(ops::Add{.a = projected, .b = table, .out = embed}, r.name("embed"));
  t.tap("vision.{slot}.embed", embed);
  Value x = r.cast("round", embed);
  for (std::size_t i = 0; i < w.layers.size(); ++i) {
    x = record_layer(r.at(std::to_string(i)), x, w.layers[i]);
    t.tap(numbered("vision.{slot}.block#", i), x);
  }
  const Value post = r.layer_norm("post", x, w.post);
  t.tap("vision.{slot}.post", post);
  return post;
}

}  // namespace tendon::siglip
