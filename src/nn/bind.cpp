#include "nn/bind.h"

namespace tendon::nn {

Linear Bind::linear(const Scope& at, std::string_view name, Size size, Format format) const {
  const Scope here = at.at(name);
  return {add(here.matrix("weight", size.n, size.k, format)),
          add(here.vector("bias", size.n, format))};
}

Linear Bind::product(const Scope& at, std::string_view name, Size size) const {
  return {add(at.at(name).matrix("weight", size.n, size.k, body_)), {}};
}

Norm Bind::norm(const Scope& at, std::string_view name, std::int64_t width, float offset) const {
  return {.weight = add(at.at(name).vector("weight", width, body_)), .offset = offset};
}

Norm Bind::affine_norm(const Scope& at, std::string_view name, std::int64_t width) const {
  const Scope here = at.at(name);
  return {.weight = add(here.vector("weight", width, body_)),
          .bias = add(here.vector("bias", width, body_))};
}

Qkv Bind::qkv(const Scope& at, std::string_view ending, const HeadShape& shape,
              Biases biases) const {
  const std::int64_t q = shape.heads * shape.head_dim, kv = shape.kv_heads * shape.head_dim;
  const auto joined = [&](const char* kind, std::int64_t columns) {
    const auto name = [&](const char* part) { return part + std::string(ending) + kind; };
    const std::string names[] = {name("q"), name("k"), name("v")};
    return add(q > 0 ? at.joined({{names[0], q}, {names[1], kv}, {names[2], kv}}, columns, body_)
                     : at.joined({{names[1], kv}, {names[2], kv}}, columns, body_));
  };
  Qkv w{.heads = shape.heads, .kv_heads = shape.kv_heads, .head_dim = shape.head_dim};
  w.weights.weight = joined(".weight", shape.width);
  if (biases == Biases::all) w.weights.bias = joined(".bias", 0);
  return w;
}

// A hidden width that is no multiple of 8 is filled up with zeros, which change nothing: products
// on GPUs want rows of whole 16 bytes.
GatedMlp Bind::gated_mlp(const Scope& at, Size hidden_width, Biases biases) const {
  const auto [hidden, width] = hidden_width;
  const std::int64_t wide = (hidden + 7) / 8 * 8;
  const auto bind = [&](std::string_view name, Size size, Size to) {
    const Scope here = at.at(name);
    Linear l{.weight = add(padded(here.matrix("weight", size.n, size.k, body_), {to.n, to.k}))};
    if (biases == Biases::all) l.bias = add(padded(here.vector("bias", size.n, body_), {to.n}));
    return l;
  };
  return {.gate = bind("gate_proj", {hidden, width}, {wide, width}),
          .up = bind("up_proj", {hidden, width}, {wide, width}),
          .down = bind("down_proj", {width, hidden}, {width, wide})};
}

TimeMixer Bind::mixer(const Scope& at, const std::string& name, std::int64_t width,
                      Format format) const {
  const TensorView in({width, 2 * width});
  const Scope first = at.at(name + "in");
  TimeMixer m;
  m.action.weight = add(first.view("weight", in.slice(1, 0, width), {width, width}, format));
  m.time.weight = add(first.view("weight", in.slice(1, width, width), {width, width}, format));
  m.time.bias = add(first.vector("bias", width, format));
  m.out = linear(at, name + "out", {width, width}, format);
  return m;
}

DecoderLayer Bind::decoder_layer(const Scope& at, const Stack& stack) const {
  const HeadShape& shape = stack.shape;
  const Scope attention = at.at("self_attn");
  DecoderLayer layer;
  layer.qkv = qkv(attention, "_proj", shape, stack.style.qkv_biases);
  if (shape.heads > 0) {
    layer.out = product(attention, "o_proj", {shape.width, shape.heads * shape.head_dim});
    layer.mlp = gated_mlp(at.at("mlp"), {stack.mlp, shape.width}, Biases::none);
    layer.mlp.act = stack.style.act;
  } else {
    for (const char* rest :
         {"self_attn.q_proj.*", "self_attn.o_proj.*", "post_attention_layernorm.*", "mlp.*"}) {
      at.ignore(rest);
    }
  }
  if (stack.norms != Stack::Norms::stored) return layer;
  layer.norm1 = norm(at, "input_layernorm", shape.width, stack.style.norm_offset);
  if (shape.heads > 0) {
    layer.norm2 = norm(at, "post_attention_layernorm", shape.width, stack.style.norm_offset);
  }
  return layer;
}

std::vector<DecoderLayer> Bind::decoder_stack(const Scope& at, const Stack& stack) const {
  std::vector<DecoderLayer> layers;
  Stack last = stack;
  if (stack.end == Stack::End::keys_and_values) last.shape.heads = 0;
  for (std::int64_t i = 0; i < stack.layers; ++i) {
    layers.push_back(decoder_layer(at.at("layers", i), i + 1 < stack.layers ? stack : last));
  }
  return layers;
}

}  // namespace tendon::nn
