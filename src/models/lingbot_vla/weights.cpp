// Which tensors of the published layout the stages read, and how they are joined.
#include "models/lingbot_vla/model.h"
#include "weights/scope.h"

namespace tendon::lingbot_vla {
namespace {

class Bind {
 public:
  Bind(const Config& config, const ModelOptions& options, Scope root, Program& program)
      : c_(config),
        root_(root.at("model")),
        stack_(root_.at("qwenvl_with_expert")),
        program_(program),
        format_(options.working == DType::f32 ? Format::f32 : Format::bf16) {}

  void vision(Weights& w) {
    const Scope at = stack_.at("qwenvl.visual");
    const std::int64_t d = c_.v_width, p = c_.patch;
    // Both temporal slices see the same frame: their sum, and the channel last.
    w.patch.weight = add(at.view("patch_embed.proj.weight",
                                 TensorView({d, 3, 2, p, p}).sum(2).permute({0, 2, 3, 1}),
                                 {d, 3 * p * p}, format_));
    for (std::int64_t i = 0; i < c_.v_depth; ++i) {
      const Scope block = at.at("blocks", i);
      Layer l;
      l.norm1 = norm(block, "norm1", d);
      l.norm2 = norm(block, "norm2", d);
      l.qkv = {.weights = linear(block.at("attn"), "qkv", 3 * d, d),
               .heads = c_.v_heads,
               .kv_heads = c_.v_heads,
               .head_dim = d / c_.v_heads};
      l.out = linear(block.at("attn"), "proj", d, d);
      const Scope m = block.at("mlp");
      l.mlp = {linear(m, "gate_proj", c_.v_mlp, d), linear(m, "up_proj", c_.v_mlp, d),
               linear(m, "down_proj", d, c_.v_mlp), Act::silu};
      w.vision.push_back(l);
    }
    const Scope merger = at.at("merger");
    w.merger_norm = norm(merger, "ln_q", d);
    w.merger1 = linear(merger.at("mlp"), "0", 4 * d, 4 * d);
    w.merger2 = linear(merger.at("mlp"), "2", c_.width, 4 * d);
  }

  void prefix(const Savings& savings, Weights& w) {
    const Scope at = stack_.at("qwenvl.model");
    w.tokens = add(at.table("embed_tokens.weight", c_.vocab, c_.width, format_));
    for (std::int64_t i = 0; i < c_.layers; ++i) {
      const bool last = savings.trim_last_layer && i + 1 == c_.layers;
      w.prefix.push_back(layer(at.at("layers", i), c_.width, c_.mlp, last));
    }
  }

  void expert(Weights& w) {
    const Scope at = stack_.at("qwen_expert.model");
    const std::int64_t e = c_.e_width;
    for (std::int64_t i = 0; i < c_.layers; ++i) {
      const Scope here = at.at("layers", i);
      w.expert.push_back(layer(here, e, c_.e_mlp, false));
      for (const char* name : {"input_layernorm", "post_attention_layernorm"}) {
        w.conditions.push_back(linear(here.at(name), "gamma", e, e));
        w.conditions.push_back(linear(here.at(name), "beta", e, e));
      }
    }
    w.expert_final = norm(at, "norm", e);
    w.state = linear(root_, "state_proj", e, c_.state_dim);
    w.mix_action_in = linear(root_, "action_in_proj", e, c_.action_dim);
    w.action_out = linear(root_, "action_out_proj", c_.action_dim, e);
    const TensorView in({e, 2 * e});  // columns: action, then time
    const Scope mix = root_.at("action_time_mlp_in");
    w.mix_action.weight = add(mix.view("weight", in.slice(1, 0, e), {e, e}, format_));
    w.mix_time.weight = add(mix.view("weight", in.slice(1, e, e), {e, e}, format_));
    w.mix_time.bias = add(mix.vector("bias", e, format_));
    w.mix_out = linear(root_, "action_time_mlp_out", e, e);
  }

 private:
  WeightRef add(Weight w) { return program_.add(std::move(w)); }

  nn::Linear linear(const Scope& at, std::string_view name, std::int64_t n, std::int64_t k) {
    const Scope here = at.at(name);
    return {add(here.matrix("weight", n, k, format_)), add(here.vector("bias", n, format_))};
  }
  nn::Linear product(const Scope& at, std::string_view name, std::int64_t n, std::int64_t k) {
    return {add(at.at(name).matrix("weight", n, k, format_)), {}};
  }
  nn::Norm norm(const Scope& at, std::string_view name, std::int64_t width) {
    return {.weight = add(at.at(name).vector("weight", width, format_))};
  }

  Layer layer(const Scope& at, std::int64_t width, std::int64_t mlp, bool keys_only) {
    const std::int64_t q = c_.heads * c_.head_dim, kv = c_.kv_heads * c_.head_dim;
    const Scope attention = at.at("self_attn");
    Layer l;
    l.norm1 = norm(at, "input_layernorm", width);
    if (keys_only) {
      l.kv = {.weights = {add(attention.joined({{"k_proj.weight", kv}, {"v_proj.weight", kv}},
                                               width, format_)),
                          add(attention.joined({{"k_proj.bias", kv}, {"v_proj.bias", kv}}, 0,
                                               format_))},
              .kv_heads = c_.kv_heads,
              .head_dim = c_.head_dim};
      return l;
    }
    l.norm2 = norm(at, "post_attention_layernorm", width);
    l.qkv = {.weights = {add(attention.joined(
                             {{"q_proj.weight", q}, {"k_proj.weight", kv}, {"v_proj.weight", kv}},
                             width, format_)),
                         add(attention.joined(
                             {{"q_proj.bias", q}, {"k_proj.bias", kv}, {"v_proj.bias", kv}}, 0,
                             format_))},
             .heads = c_.heads,
             .kv_heads = c_.kv_heads,
             .head_dim = c_.head_dim};
    l.out = product(attention, "o_proj", width, q);
    const Scope m = at.at("mlp");
    l.mlp = {product(m, "gate_proj", mlp, width), product(m, "up_proj", mlp, width),
             product(m, "down_proj", width, mlp), Act::silu};
    return l;
  }

  const Config& c_;
  Scope root_, stack_;
  Program& program_;
  Format format_;
};

std::vector<std::string> unread(const Config& c) {
  const std::string prefix = "model.qwenvl_with_expert.qwenvl.model.";
  const std::string last = prefix + "layers." + std::to_string(c.layers - 1) + ".";
  return {prefix + "norm.weight", last + "self_attn.q_proj.*", last + "self_attn.o_proj.weight",
          last + "post_attention_layernorm.weight", last + "mlp.*"};
}

}  // namespace

Weights bind(const Config& config, const ModelOptions& options, Checkpoint& checkpoint,
             Program& program) {
  Binder binder(checkpoint);
  Weights w;
  Bind bind(config, options, binder.root(), program);
  bind.vision(w);
  bind.prefix(options.savings, w);
  bind.expert(w);
  binder.finish(unread(config));
  return w;
}

}  // namespace tendon::lingbot_vla
