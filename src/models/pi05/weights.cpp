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
    const siglip::Config tower{c_.patches(),    c_.patch,         c_.vision_width,
                               c_.vision_heads, c_.vision_layers, c_.vision_mlp};
    w.vision = siglip::bind(*this, root_.at(names::kVision), tower);
    w.projector = linear(root_, names::kProjector, {c_.prefix_width, c_.vision_width});
  }

  void prefix(bool trimmed, Weights& w) const {
    const bool own = root_.has(names::kTokenTable);
    w.tokens = add(root_.table(own ? names::kTokenTable : names::kTiedTable, c_.vocab,
                               c_.prefix_width, body()));
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
      root_.ignore("state_proj.*");  // left over by LeRobot's port
      return;
    }
    w.state = linear(root_, "state_proj", {e, a}, Format::f32);
    w.mix = mixer(root_, "action_time_mlp_", e, Format::f32);
  }

  // Tensors that inference never reads, besides those beside tensors that it does.
  void unread() const {
    root_.unread(names::kExpertHead, {c_.vocab, c_.expert_width});
    root_.unread(names::prefix("norm.weight"), {c_.prefix_width});
    root_.ignore(names::kTiedTable);
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
    at.ignore(name + ".weight");  // left over by LeRobot's port
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

}  // namespace

Weights bind(const Config& config, const ModelOptions& options, Binder& binder, Program& program) {
  Weights w;
  const Bind bind(config, options, binder.root(), program);
  bind.vision(w);
  bind.prefix(trims_last_layer(options, program), w);
  bind.expert(w);
  bind.heads(w);
  bind.unread();
  return w;
}

}  // namespace tendon::pi05
