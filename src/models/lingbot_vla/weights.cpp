// Which tensors of the published layout the stages read, and how they are joined.
#include "models/lingbot_vla/model.h"
#include "nn/bind.h"

namespace tendon::lingbot_vla {
namespace {

class Bind : public nn::Bind {
 public:
  Bind(const Config& config, const ModelOptions& options, const Scope& root, Program& program)
      : nn::Bind(program, options.working), c_(config), root_(root) {}

  void vision(Weights& w) const {
    const Scope at = root_.at(names::kVisual);
    const std::int64_t d = c_.v_width, p = c_.patch, head = d / c_.v_heads;
    // Both temporal slices see the same frame: their sum, and the channel last.
    w.patch.weight = add(at.view("patch_embed.proj.weight",
                                 TensorView({d, 3, 2, p, p}).sum(2).permute({0, 2, 3, 1}),
                                 {d, 3 * p * p}, body()));
    for (std::int64_t i = 0; i < c_.v_depth; ++i) {
      const Scope block = at.at("blocks", i);
      w.vision.push_back({.norm1 = norm(block, "norm1", d),
                          .norm2 = norm(block, "norm2", d),
                          .qkv = {.weights = linear(block, "attn.qkv", {3 * d, d}),
                                  .heads = c_.v_heads,
                                  .kv_heads = c_.v_heads,
                                  .head_dim = head},
                          .out = linear(block, "attn.proj", {d, d}),
                          .mlp = gated_mlp(block.at("mlp"), {c_.v_mlp, d}, Biases::all)});
    }
    const Scope merger = at.at("merger");
    w.merger_norm = norm(merger, "ln_q", d);
    w.merger1 = linear(merger, "mlp.0", {4 * d, 4 * d});
    w.merger2 = linear(merger, "mlp.2", {c_.prefix_width, 4 * d});
  }

  void prefix(Stack::End end, Weights& w) const {
    const Scope at = root_.at(names::kPrefix);
    w.tokens = add(at.table("embed_tokens.weight", c_.vocab, c_.prefix_width, body()));
    w.prefix = decoder_stack(at, c_.prefix(end));
    at.unread("norm.weight", {c_.prefix_width});
  }

  void expert(Weights& w) const {
    const Scope at = root_.at(names::kExpert);
    const std::int64_t e = c_.expert_width;
    w.expert = decoder_stack(at, c_.expert());
    for (std::int64_t i = 0; i < c_.layers; ++i) {
      const Scope here = at.at("layers", i);
      for (const char* name : {"input_layernorm", "post_attention_layernorm"}) {
        w.conditions.push_back(linear(here.at(name), "gamma", {e, e}));
        w.conditions.push_back(linear(here.at(name), "beta", {e, e}));
      }
    }
    w.expert_final = norm(at, "norm", e);
    const Scope model = root_.at("model");
    w.state = linear(model, "state_proj", {e, c_.state_dim});
    w.action_in = linear(model, "action_in_proj", {e, c_.action_dim});
    w.action_out = linear(model, "action_out_proj", {c_.action_dim, e});
    w.mix = mixer(model, "action_time_mlp_", e, body());
  }

 private:
  const Config& c_;
  Scope root_;
};

}  // namespace

Weights bind(const Config& config, const ModelOptions& options, Binder& binder, Program& program) {
  Weights w;
  const Bind bind(config, options, binder.root(), program);
  bind.vision(w);
  bind.prefix(prefix_end(options, program), w);
  bind.expert(w);
  return w;
}

}  // namespace tendon::lingbot_vla
