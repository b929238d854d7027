// Which tensors of the published layout the stages read, and how they are joined.
#include "base/half.h"
#include "models/pi05/model.h"
#include "models/pi05/names.h"
#include "nn/bind.h"

namespace tendon::pi05 {
namespace {

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

  void prefix(Stack::End end, Weights& w) const {
    const bool own = root_.has(names::kTokenTable);
    w.tokens = add(root_.table(own ? names::kTokenTable : names::kTiedTable, c_.vocab,
                               c_.prefix_width, body()));
    w.prefix = decoder_stack(root_.at(names::kPrefix), c_.prefix(end));
  }

  void expert(Weights& w) const {
    const Scope at = root_.at(names::kExpert);
    Stack stack = c_.expert();
    if (c_.adaptive) stack.norms = Stack::Norms::others;
    w.expert = decoder_stack(at, stack);
    if (!c_.adaptive) {
      w.expert_final = norm(at, "norm", c_.expert_width, c_.style.norm_offset);
      return;
    }
    for (std::int64_t i = 0; i < c_.layers; ++i) {
      modulation(at.at("layers", i), "input_layernorm", w);
      modulation(at.at("layers", i), "post_attention_layernorm", w);
    }
    modulation(at, "norm", w);
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
  // pi0.5: what modulates a norm, kept wide as the original does.
  void modulation(const Scope& at, const std::string& name, Weights& w) const {
    const std::int64_t e = c_.expert_width;
    const Scope dense = at.at(name + ".dense");
    w.modulation.push_back({add(rounded(dense.matrix("weight", 3 * e, e, Format::f32))),
                            add(rounded(dense.vector("bias", 3 * e, Format::f32)))});
    at.ignore(name + ".weight");  // left over by LeRobot's port
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
  bind.prefix(prefix_end(options, program), w);
  bind.expert(w);
  bind.heads(w);
  bind.unread();
  return w;
}

}  // namespace tendon::pi05
