// Which tensors of the published layout the stages read, and how they are joined.
#include "base/half.h"
#include "models/pi05/model.h"
#include "models/pi05/names.h"
#include "weights/scope.h"

namespace tendon::pi05 {
namespace {

class Bind {
 public:
  Bind(const Config& config, const ModelOptions& options, Scope root, Program& program)
      : c_(config),
        root_(std::move(root)),
        program_(program),
        body_(options.working == DType::f32 ? Format::f32 : Format::bf16) {}

  WeightRef add(Weight w) { return program_.add(std::move(w)); }

  nn::Linear linear(const std::string& name, std::int64_t n, std::int64_t k, Format format) {
    return {add(root_.matrix(name + ".weight", n, k, format)),
            add(root_.vector(name + ".bias", n, format))};
  }
  nn::Norm layer_norm(const std::string& name) {
    const std::int64_t d = c_.vision_width;
    return {.weight = add(root_.vector(name + ".weight", d, body_)),
            .bias = add(root_.vector(name + ".bias", d, body_))};
  }
  // The file stores the offset from 1.
  nn::Norm rms_norm(const std::string& name, std::int64_t width) {
    return {.weight = add(root_.vector(name + ".weight", width, body_)), .offset = 1.0f};
  }

  void vision(Weights& w) {
    const std::int64_t d = c_.vision_width, p = c_.patch;
    // Stored [Dv, 3, y, x]; patches are cut with the channel last.
    const std::string patch = names::vision("embeddings.patch_embedding");
    w.patch.weight = add(root_.view(
        patch + ".weight", TensorView({d, 3, p, p}).permute({0, 2, 3, 1}), {d, 3 * p * p}, body_));
    w.patch.bias = add(root_.vector(patch + ".bias", d, body_));
    w.positions = add(
        root_.table(names::vision("embeddings.position_embedding.weight"), c_.patches(), d, body_));
    for (std::int64_t i = 0; i < c_.vision_layers; ++i) {
      const Scope at = root_.at(names::vision("encoder.layers"), i);
      const std::string name = at.full("");
      VisionLayer layer;
      layer.norm1 = layer_norm(name + "layer_norm1");
      layer.norm2 = layer_norm(name + "layer_norm2");
      const Scope attention = at.at("self_attn");
      layer.qkv = {
          .weights = {add(attention.joined(
                          {{"q_proj.weight", d}, {"k_proj.weight", d}, {"v_proj.weight", d}}, d,
                          body_)),
                      add(attention.joined(
                          {{"q_proj.bias", d}, {"k_proj.bias", d}, {"v_proj.bias", d}}, 0, body_))},
          .heads = c_.vision_heads,
          .kv_heads = c_.vision_heads,
          .head_dim = d / c_.vision_heads};
      layer.out = linear(name + "self_attn.out_proj", d, d, body_);
      layer.fc1 = linear(name + "mlp.fc1", c_.vision_mlp, d, body_);
      layer.fc2 = linear(name + "mlp.fc2", d, c_.vision_mlp, body_);
      w.vision.push_back(layer);
    }
    w.post = layer_norm(names::vision("post_layernorm"));
    w.projector = linear(names::kProjector, c_.prefix_width, d, body_);
  }

  enum class Parts { all, keys_only };
  GemmaLayer layer(const Scope& at, std::int64_t width, std::int64_t mlp, Parts parts) {
    const std::int64_t q = c_.q_heads * c_.head_dim, kv = c_.kv_heads * c_.head_dim;
    GemmaLayer layer;
    const Scope attention = at.at("self_attn");
    if (parts == Parts::keys_only) {
      layer.kv = {.weights = {add(attention.joined({{"k_proj.weight", kv}, {"v_proj.weight", kv}},
                                                   width, body_)),
                              {}},
                  .kv_heads = c_.kv_heads,
                  .head_dim = c_.head_dim};
      return layer;
    }
    layer.qkv = {
        .weights = {add(attention.joined(
                        {{"q_proj.weight", q}, {"k_proj.weight", kv}, {"v_proj.weight", kv}}, width,
                        body_)),
                    {}},
        .heads = c_.q_heads,
        .kv_heads = c_.kv_heads,
        .head_dim = c_.head_dim};
    layer.o.weight = add(attention.matrix("o_proj.weight", width, q, body_));
    const Scope m = at.at("mlp");
    layer.mlp.act = Act::gelu_tanh;
    layer.mlp.gate.weight = add(m.matrix("gate_proj.weight", mlp, width, body_));
    layer.mlp.up.weight = add(m.matrix("up_proj.weight", mlp, width, body_));
    layer.mlp.down.weight = add(m.matrix("down_proj.weight", width, mlp, body_));
    return layer;
  }

  void prefix(const Savings& savings, Weights& w) {
    const std::string table =
        root_.has(names::kTokenTable) ? names::kTokenTable : names::kTiedTable;
    w.tokens = add(root_.table(table, c_.vocab, c_.prefix_width, body_));
    for (std::int64_t i = 0; i < c_.layers; ++i) {
      const Scope at = root_.at(names::prefix("layers"), i);
      const bool last = savings.trim_last_layer && i + 1 == c_.layers;
      GemmaLayer l =
          layer(at, c_.prefix_width, c_.prefix_mlp, last ? Parts::keys_only : Parts::all);
      l.norm1 = rms_norm(at.full("input_layernorm"), c_.prefix_width);
      if (!last) l.norm2 = rms_norm(at.full("post_attention_layernorm"), c_.prefix_width);
      w.prefix.push_back(l);
    }
  }

  // pi0.5: the modulation of a norm, kept wide as the original does; pi0: its weight.
  void expert_norm(const std::string& name, nn::Norm& norm, Weights& w) {
    const std::int64_t e = c_.expert_width;
    if (!c_.adaptive) {
      norm = rms_norm(name, e);
      return;
    }
    w.modulation.push_back({add(wide(root_.matrix(name + ".dense.weight", 3 * e, e, Format::f32))),
                            add(wide(root_.vector(name + ".dense.bias", 3 * e, Format::f32)))});
  }

  // Values of the body's precision in an fp32 product.
  Weight wide(Weight weight) {
    if (body_ == Format::f32) return weight;
    weight.raw = nullptr;
    return mapped(std::move(weight), [](std::int64_t, std::span<float> values) {
      for (float& v : values) v = round_bf16(v);
    });
  }

  void expert(Weights& w) {
    for (std::int64_t i = 0; i < c_.layers; ++i) {
      const Scope at = root_.at(names::expert("layers"), i);
      GemmaLayer l = layer(at, c_.expert_width, c_.expert_mlp, Parts::all);
      expert_norm(at.full("input_layernorm"), l.norm1, w);
      expert_norm(at.full("post_attention_layernorm"), l.norm2, w);
      w.expert.push_back(l);
    }
    expert_norm(names::expert("norm"), w.expert_final, w);
  }

  // Outside the bf16 body: fp32 with the file's own precision.
  void heads(Weights& w) {
    const std::int64_t e = c_.expert_width, a = c_.action_dim;
    w.action_in = linear("action_in_proj", e, a, Format::f32);
    w.action_out = linear("action_out_proj", a, e, Format::f32);
    if (c_.adaptive) {
      w.time_in = linear("time_mlp_in", e, e, Format::f32);
      w.time_out = linear("time_mlp_out", e, e, Format::f32);
      return;
    }
    w.state = linear("state_proj", e, a, Format::f32);
    const TensorView in({e, 2 * e});  // columns: action, then time
    w.mix_action.weight =
        add(root_.view("action_time_mlp_in.weight", in.slice(1, 0, e), {e, e}, Format::f32));
    w.mix_time.weight =
        add(root_.view("action_time_mlp_in.weight", in.slice(1, e, e), {e, e}, Format::f32));
    w.mix_time.bias = add(root_.vector("action_time_mlp_in.bias", e, Format::f32));
    w.mix_out = linear("action_time_mlp_out", e, e, Format::f32);
  }

 private:
  const Config& c_;
  Scope root_;
  Program& program_;
  Format body_;
};

// Tensors of the layout that inference never reads.
std::vector<std::string> unread(const Config& c) {
  const std::string last = names::prefix("layers." + std::to_string(c.layers - 1) + ".");
  return {names::kExpertHead,
          names::kTiedTable,
          names::prefix("norm.weight"),
          last + "self_attn.q_proj.weight",
          last + "self_attn.o_proj.weight",
          last + "post_attention_layernorm.weight",
          last + "mlp.*"};
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
  bind.heads(w);
  binder.finish(unread(config));
  return w;
}

}  // namespace tendon::pi05
