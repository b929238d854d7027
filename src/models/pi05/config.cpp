// Dimensions, rules of names and the families' entries.
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "models/pi05/model.h"
#include "models/pi05/names.h"

namespace tendon::pi05 {

using nlohmann::json;

namespace {

std::vector<Dimension> dimensions_of(Config& c) {
  const std::string patch = names::vision("embeddings.patch_embedding.weight");
  const std::string layers = names::vision("encoder.layers.");
  std::vector<Dimension> all =
      tendon::dimensions_of(c, {patch, names::prefix(""), names::expert(""), ""});
  all.insert(all.end(), {{"vision_width", &c.vision_width, {}, patch, 0},
                         {"vision_heads", &c.vision_heads},
                         {"vision_layers", &c.vision_layers, {}, layers + "#.layer_norm1.weight"},
                         {"vision_mlp", &c.vision_mlp, {}, layers + "0.mlp.fc1.weight", 0}});
  return all;
}

json to_json(Config c) { return dims_json(dimensions_of(c)); }

json full_dims() { return to_json(Config{}); }

json mini_dims() {
  Config c;
  c.image = 56;
  c.vision_width = 48, c.vision_heads = 4, c.vision_layers = 3, c.vision_mlp = 88;
  c.prefix_width = 64, c.prefix_mlp = 160, c.expert_width = 48, c.expert_mlp = 96;
  c.layers = 3, c.head_dim = 16, c.vocab = 311;
  c.action_dim = 12, c.horizon = 7, c.prompt_len = 64;
  return to_json(c);
}

json dims_of(const Checkpoint& checkpoint, const json& known) {
  Config d;
  const CheckpointShapes shapes(checkpoint, "this is no pi0 or pi0.5 checkpoint");
  shapes.read(dimensions_of(d));
  const Shape& position = shapes.of(names::vision("embeddings.position_embedding.weight"));
  d.image = std::lround(std::sqrt(static_cast<double>(position[0]))) * d.patch;
  if (d.vision_width != 1152) require_known(known, {"vision_heads"});
  d.vision_heads = known.value("vision_heads", d.vision_heads);
  d.kv_heads = known.value("kv_heads", d.kv_heads);
  const std::string attention = names::prefix("layers.0.self_attn.");
  d.head_dim = shapes.of(attention + "k_proj.weight")[0] / d.kv_heads;
  d.q_heads = shapes.of(attention + "q_proj.weight")[0] / d.head_dim;
  d.vocab = shapes.of(shapes.has(names::kTokenTable) ? names::kTokenTable : names::kTiedTable)[0];
  require_known(known, {"horizon", "prompt_len"});
  d.horizon = known["horizon"], d.prompt_len = known["prompt_len"];
  d.cameras = known.value("cameras", d.cameras);
  return to_json(d);
}

template <Kind kKind>
Config config_of(const json& dims) {
  return config_from(dims, kKind);
}

template <Kind kKind>
Family describe(std::string_view name, std::string_view summary) {
  constexpr bool kAdaptive = kKind == Kind::pi05;
  Family f{.name = name, .summary = summary};
  f.full_dims = full_dims, f.mini_dims = mini_dims, f.dims_of = dims_of;
  f.recorded_call = recorded_call;
  describe_model<Pi05Model, config_of<kKind>>(f);
  f.usual_contract = kAdaptive ? "pi05_libero" : "pi0_libero";
  f.unused = {names::kExpertHead, names::prefix("norm.weight"), names::kTiedTable};
  f.factors = {"*.encoder.layers.*.layer_norm1.weight", "*.encoder.layers.*.layer_norm2.weight",
               "*.post_layernorm.weight"};
  f.named_after = {{names::kTokenTable, names::kTiedTable}};
  // Not by the time MLP: pi0.5 files of some writers call it as pi0's.
  f.marks = {names::kProjector + ".weight",
             names::expert(kAdaptive ? "norm.dense.weight" : "norm.weight")};
  const std::string paligemma = "paligemma_with_expert.paligemma.";
  f.name_rules = {
      {"model.paligemma_with_expert.*", "paligemma_with_expert.$1"},
      {"model.action_*", "action_$1"},
      {"model.time_mlp_*", "time_mlp_$1"},
      {"model.state_proj.*", "state_proj.$1"},
      {paligemma + "vision_tower.*", names::kPaliGemma + "vision_tower.$1"},
      {paligemma + "multi_modal_projector.*", names::kPaliGemma + "multi_modal_projector.$1"},
      kAdaptive ? NameRule{"action_time_mlp_*", "time_mlp_$1"}
                : NameRule{"time_mlp_*", "action_time_mlp_$1"}};
  f.published_name = published_name, f.define_tensors = define_from_jax;
  describe_vision_language(
      f, "exact (counted as openpi does) or divided (as LeRobot does)",
      kAdaptive ? "conditioned: decided rows are clean, with a time of 0 of their own" : kClamped);
  return f;
}

}  // namespace

Config config_from(const json& dims, Kind kind) {
  Config c;
  c.adaptive = kind == Kind::pi05;
  read_dims(dims, dimensions_of(c));
  c.state_dim = c.action_dim;
  require(
      c.image % c.patch == 0 && c.vision_width % c.vision_heads == 0 &&
          c.q_heads % c.kv_heads == 0 && c.head_dim % 2 == 0,
      "dimensions do not fit: image {} patch {}, vision width {} heads {}, heads {} over {}, head "
      "width {}",
      c.image, c.patch, c.vision_width, c.vision_heads, c.q_heads, c.kv_heads, c.head_dim);
  return c;
}

Family pi05_family() {
  return describe<Kind::pi05>(
      "pi05",
      "pi0.5: time modulates the action expert; contracts say if the state is in the prompt");
}

Family pi0_family() { return describe<Kind::pi0>("pi0", "pi0: state token, action-time MLP"); }

}  // namespace tendon::pi05
