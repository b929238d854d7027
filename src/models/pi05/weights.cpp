// Which tensors of the published layout the stages read, and how they are joined.
#include "base/half.h"
#include "models/pi05/model.h"
#include "models/pi05/names.h"
#include "nn/bind.h"

namespace tendon::pi05 {
namespace {

using Biases = nn::Bind::Biases;

class Bind : public nn::Bind {
 public:
  Bind(const Config& config, const ModelOptions& options, Scope root, Program& program)
      : nn::Bind(program, options.working), c_(config), root_(std::move(root)) {}

  void vision(Weights& w) const {
    const std::int64_t d = c_.vision_width, p = c_.patch;
    // Stored [Dv, 3, y, x]; patches are cut with the channel last.
    const Scope patch = root_.at(names::vision("embeddings.patch_embedding"));
    w.patch.weight = add(patch.view("weight", TensorView({d, 3, p, p}).permute({0, 2, 3, 1}),
                                    {d, 3 * p * p}, body()));
    w.patch.bias = add(patch.vector("bias", d, body()));
    w.positions = add(root_.table(names::vision("embeddings.position_embedding.weight"),
                                  c_.patches(), d, body()));
    const nn::HeadShape heads{d, c_.vision_heads, c_.vision_heads, d / c_.vision_heads};
    for (std::int64_t i = 0; i < c_.vision_layers; ++i) {
      const Scope at = root_.at(names::vision("encoder.layers"), i);
      w.vision.push_back({.norm1 = affine_norm(at, "layer_norm1", d),
                          .norm2 = affine_norm(at, "layer_norm2", d),
                          .qkv = qkv(at.at("self_attn"), "_proj", heads, Biases::all),
                          .out = linear(at, "self_attn.out_proj", {d, d}),
                          .fc1 = linear(at, "mlp.fc1", {c_.vision_mlp, d}),
                          .fc2 = linear(at, "mlp.fc2", {d, c_.vision_mlp})});
    }
    w.post = affine_norm(root_, names::vision("post_layernorm"), d);
    w.projector = linear(root_, names::kProjector, {c_.prefix_width, d});
  }

  void prefix(bool trimmed, Weights& w) const {
    const std::string table =
        root_.has(names::kTokenTable) ? names::kTokenTable : names::kTiedTable;
    w.tokens = add(root_.table(table, c_.vocab, c_.prefix_width, body()));
    for (std::int64_t i = 0; i < c_.layers; ++i) {
      const Scope at = root_.at(names::prefix("layers"), i);
      const bool last = trimmed && i + 1 == c_.layers;
      nn::DecoderLayer l = layer(at, c_.prefix_width, c_.prefix_mlp, last ? 0 : c_.q_heads);
      l.norm1 = rms_norm(at, "input_layernorm", c_.prefix_width);
      if (!last) l.norm2 = rms_norm(at, "post_attention_layernorm", c_.prefix_width);
      w.prefix.push_back(l);
    }
  }

  void expert(Weights& w) const {
    for (std::int64_t i = 0; i < c_.layers; ++i) {
      const Scope at = root_.at(names::expert("layers"), i);
      nn::DecoderLayer l = layer(at, c_.expert_width, c_.expert_mlp, c_.q_heads);
      l.norm1 = expert_norm(at, "input_layernorm", w);
      l.norm2 = expert_norm(at, "post_attention_layernorm", w);
      w.expert.push_back(l);
    }
    w.expert_final = expert_norm(root_, names::expert("norm"), w);
  }

  // Outside the bf16 body: fp32 with the file's own precision.
  void heads(Weights& w) const {
    const std::int64_t e = c_.expert_width, a = c_.action_dim;
    w.action_in = linear(root_, "action_in_proj", {e, a}, Format::f32);
    w.action_out = linear(root_, "action_out_proj", {a, e}, Format::f32);
    if (c_.adaptive) {
      w.time_in = linear(root_, "time_mlp_in", {e, e}, Format::f32);
      w.time_out = linear(root_, "time_mlp_out", {e, e}, Format::f32);
      return;
    }
    w.state = linear(root_, "state_proj", {e, a}, Format::f32);
    w.mix = mixer(root_, "action_time_mlp_", e, Format::f32);
  }

 private:
  // The file stores the offset from 1.
  nn::Norm rms_norm(const Scope& at, std::string_view name, std::int64_t width) const {
    nn::Norm n = norm(at, name, width);
    n.offset = 1.0f;
    return n;
  }

  nn::DecoderLayer layer(const Scope& at, std::int64_t width, std::int64_t mlp,
                         std::int64_t heads) const {
    nn::DecoderLayer l =
        decoder_layer(at, {width, heads, c_.kv_heads, c_.head_dim}, mlp, Biases::none);
    l.mlp.act = Act::gelu_tanh;
    return l;
  }

  // pi0.5: the modulation of a norm, kept wide as the original does; pi0: its weight.
  nn::Norm expert_norm(const Scope& at, const std::string& name, Weights& w) const {
    const std::int64_t e = c_.expert_width;
    if (!c_.adaptive) return rms_norm(at, name, e);
    const Scope dense = at.at(name + ".dense");
    w.modulation.push_back({add(rounded(dense.matrix("weight", 3 * e, e, Format::f32))),
                            add(rounded(dense.vector("bias", 3 * e, Format::f32)))});
    return {};
  }

  // Values of the body's precision in an fp32 product.
  Weight rounded(Weight weight) const {
    if (body() == Format::f32) return weight;
    weight.raw = nullptr;
    return mapped(std::move(weight), [](std::int64_t, std::span<float> values) {
      for (float& v : values) v = round_bf16(v);
    });
  }

  const Config& c_;
  Scope root_;
};

// Tensors of the layout, and left-overs of LeRobot's ports, that inference never reads.
std::vector<std::string> unread(const Config& c) {
  const std::string last = names::prefix("layers." + std::to_string(c.layers - 1) + ".");
  std::vector<std::string> all = {names::kExpertHead,
                                  names::kTiedTable,
                                  names::prefix("norm.weight"),
                                  last + "self_attn.q_proj.weight",
                                  last + "self_attn.o_proj.weight",
                                  last + "post_attention_layernorm.weight",
                                  last + "mlp.*"};
  if (c.adaptive) {
    for (const char* norm : {"norm.weight", "layers.*.input_layernorm.weight",
                             "layers.*.post_attention_layernorm.weight"}) {
      all.push_back(names::expert(norm));
    }
    all.emplace_back("state_proj.*");
  }
  return all;
}

}  // namespace

Weights bind(const Config& config, const ModelOptions& options, Checkpoint& checkpoint,
             Program& program) {
  Binder binder(checkpoint);
  Weights w;
  const Bind bind(config, options, binder.root(), program);
  bind.vision(w);
  bind.prefix(trims_last_layer(options, program), w);
  bind.expert(w);
  bind.heads(w);
  binder.finish(unread(config));
  return w;
}

}  // namespace tendon::pi05
