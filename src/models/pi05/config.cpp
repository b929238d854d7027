// Dimensions, tensor names and rules of the family; section numbers are those of the openpi layout.
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "models/pi05/jax_layout.h"
#include "models/pi05/names.h"
#include "models/pi05/pi05.h"
#include "models/published.h"

namespace tendon::pi05 {

using nlohmann::json;

namespace {

std::vector<Dimension> dimensions_of(Config& c) {
  return {{"image", &c.image},
          {"patch", &c.patch},
          {"vision_width", &c.vision_width},
          {"vision_heads", &c.vision_heads},
          {"vision_layers", &c.vision_layers},
          {"vision_mlp", &c.vision_mlp},
          {"prefix_width", &c.prefix_width},
          {"prefix_mlp", &c.prefix_mlp},
          {"expert_width", &c.expert_width},
          {"expert_mlp", &c.expert_mlp},
          {"layers", &c.layers},
          {"q_heads", &c.q_heads},
          {"kv_heads", &c.kv_heads},
          {"head_dim", &c.head_dim},
          {"vocab", &c.vocab},
          {"action_dim", &c.action_dim},
          {"horizon", &c.horizon},
          {"prompt_len", &c.prompt_len},
          {"cameras", &c.cameras}};
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

std::int64_t heads_of(std::int64_t width, const json& known) {
  if (known.contains("vision_heads")) return known["vision_heads"].get<std::int64_t>();
  require(
      width == 1152,
      "the file does not say how many vision heads a width of {} has: state \"vision_heads\" in "
      "tendon.json under \"dims\"",
      width);
  return 16;
}

json dims_of(const Checkpoint& checkpoint, const json& known) {
  Config d;
  const CheckpointShapes shapes(checkpoint, "this is no pi0 or pi0.5 checkpoint");
  const Shape& patch = shapes.of(names::vision("embeddings.patch_embedding.weight"));
  const Shape& position = shapes.of(names::vision("embeddings.position_embedding.weight"));
  d.vision_width = patch[0], d.patch = patch[3];
  const double side = std::sqrt(static_cast<double>(position[0]));
  d.image = static_cast<std::int64_t>(std::lround(side)) * d.patch;
  d.vision_heads = heads_of(d.vision_width, known);
  d.vision_layers = shapes.count(names::vision("encoder.layers."), ".layer_norm1.weight");
  d.vision_mlp = shapes.of(names::vision("encoder.layers.0.mlp.fc1.weight"))[0];
  const std::string prefix = names::prefix("layers.0."), expert = names::expert("layers.0.");
  d.layers = shapes.count(names::prefix("layers."), ".self_attn.k_proj.weight");
  const Shape& gate = shapes.of(prefix + "mlp.gate_proj.weight");
  d.prefix_mlp = gate[0], d.prefix_width = gate[1];
  const Shape& expert_gate = shapes.of(expert + "mlp.gate_proj.weight");
  d.expert_mlp = expert_gate[0], d.expert_width = expert_gate[1];
  d.kv_heads = known.value("kv_heads", std::int64_t{1});
  d.head_dim = shapes.of(prefix + "self_attn.k_proj.weight")[0] / d.kv_heads;
  d.q_heads = shapes.of(prefix + "self_attn.q_proj.weight")[0] / d.head_dim;
  d.vocab = shapes.of(shapes.has(names::kTokenTable) ? names::kTokenTable : names::kTiedTable)[0];
  d.action_dim = shapes.of("action_in_proj.weight")[1];
  require_known(known, {"horizon", "prompt_len"});
  d.horizon = known["horizon"], d.prompt_len = known["prompt_len"];
  d.cameras = known.value("cameras", std::int64_t{3});
  return to_json(d);
}

void vision_tensors(const Config& c, TensorList& s) {
  const std::int64_t d = c.vision_width;
  s.kernel(names::vision("embeddings.patch_embedding"), {d, 3, c.patch, c.patch});
  s.add(names::vision("embeddings.position_embedding.weight"), {c.patches(), d});
  for (std::int64_t i = 0; i < c.vision_layers; ++i) {
    const std::string at = names::vision("encoder.layers." + std::to_string(i) + ".");
    for (const char* norm : {"layer_norm1", "layer_norm2"}) s.kernel(at + norm, {d});
    for (const char* p : {"q_proj", "k_proj", "v_proj", "out_proj"}) {
      s.linear(at + "self_attn." + p, d, d);
    }
    s.linear(at + "mlp.fc1", c.vision_mlp, d);
    s.linear(at + "mlp.fc2", d, c.vision_mlp);
  }
  s.kernel(names::vision("post_layernorm"), {d});
  s.linear(names::kProjector, c.prefix_width, d);
}

// One Gemma layer but its norms.
void layer_tensors(const Config& c, const std::string& at, std::int64_t width, std::int64_t mlp,
                   TensorList& s) {
  const std::int64_t q = c.q_heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  s.add(at + "self_attn.q_proj.weight", {q, width});
  s.add(at + "self_attn.k_proj.weight", {kv, width});
  s.add(at + "self_attn.v_proj.weight", {kv, width});
  s.add(at + "self_attn.o_proj.weight", {width, q});
  s.add(at + "mlp.gate_proj.weight", {mlp, width});
  s.add(at + "mlp.up_proj.weight", {mlp, width});
  s.add(at + "mlp.down_proj.weight", {width, mlp});
}

void expert_norm(const Config& c, const std::string& name, TensorList& s) {
  if (c.adaptive) {
    s.linear(name + ".dense", 3 * c.expert_width, c.expert_width);
  } else {
    s.add(name + ".weight", {c.expert_width});
  }
}

void head_tensors(const Config& c, TensorList& s) {
  const std::int64_t e = c.expert_width, a = c.action_dim;
  s.linear("action_in_proj", e, a);
  s.linear("action_out_proj", a, e);
  if (c.adaptive) {
    s.linear("time_mlp_in", e, e);
    s.linear("time_mlp_out", e, e);
  } else {
    s.linear("state_proj", e, a);
    s.linear("action_time_mlp_in", e, 2 * e);
    s.linear("action_time_mlp_out", e, e);
  }
}

template <Kind kKind>
std::vector<TensorSpec> tensors(const json& dims) {
  const Config c = config_from(dims, kKind);
  TensorList s(DType::f32);
  vision_tensors(c, s);
  for (std::int64_t i = 0; i < c.layers; ++i) {
    const std::string at = names::prefix("layers." + std::to_string(i) + ".");
    layer_tensors(c, at, c.prefix_width, c.prefix_mlp, s);
    s.add(at + "input_layernorm.weight", {c.prefix_width});
    s.add(at + "post_attention_layernorm.weight", {c.prefix_width});
    const std::string to = names::expert("layers." + std::to_string(i) + ".");
    layer_tensors(c, to, c.expert_width, c.expert_mlp, s);
    expert_norm(c, to + "input_layernorm", s);
    expert_norm(c, to + "post_attention_layernorm", s);
  }
  s.add(names::prefix("norm.weight"), {c.prefix_width});
  s.add(names::kTiedTable, {c.vocab, c.prefix_width});
  expert_norm(c, names::expert("norm"), s);
  s.add(names::kExpertHead, {c.vocab, c.expert_width});
  head_tensors(c, s);
  return s.take();
}

Model::Dimensions model_dimensions(const json& dims) {
  return dimensions(config_from(dims, Kind::pi05));
}

template <Kind kKind>
std::unique_ptr<Model> make(const json& dims, const ModelOptions& options, Checkpoint& checkpoint) {
  return make_model(config_from(dims, kKind), options, checkpoint);
}

template <Kind kKind>
Family describe() {
  Family f;
  f.stages = {"vision", "prefix", "denoise"};
  f.full_dims = full_dims, f.mini_dims = mini_dims, f.dims_of = dims_of;
  f.tensors = tensors<kKind>, f.make = make<kKind>;
  f.recorded_call = recorded_call, f.dimensions = model_dimensions;
  f.usual_contract = kKind == Kind::pi05 ? "pi05_libero" : "pi0_libero";
  f.unused = {names::kExpertHead, names::prefix("norm.weight"), names::kTiedTable};
  f.factors = {"*.encoder.layers.*.layer_norm1.weight", "*.encoder.layers.*.layer_norm2.weight",
               "*.post_layernorm.weight"};
  f.named_after = {{names::kTokenTable, names::kTiedTable}};
  // Not by the time MLP: pi0.5 files of some writers call it as pi0's.
  f.marks = {names::kProjector + ".weight",
             names::expert(kKind == Kind::pi05 ? "norm.dense.weight" : "norm.weight")};
  f.name_rules = {
      {"model.paligemma_with_expert.*", "paligemma_with_expert.$1"},
      {"model.action_*", "action_$1"},
      {"model.time_mlp_*", "time_mlp_$1"},
      {"model.state_proj.*", "state_proj.$1"},
      {"paligemma_with_expert.paligemma.vision_tower.*", names::kPaliGemma + "vision_tower.$1"},
      {"paligemma_with_expert.paligemma.multi_modal_projector.*",
       names::kPaliGemma + "multi_modal_projector.$1"},
      kKind == Kind::pi05 ? NameRule{"action_time_mlp_*", "time_mlp_$1"}
                          : NameRule{"time_mlp_*", "action_time_mlp_$1"}};
  f.published_name = published_name, f.define_tensors = define_from_jax;
  f.capabilities = {
      {"steps", "any number up to --max-steps; Euler from t = 1 to 0"},
      {"schedule", "exact (counted as openpi does) or divided (as LeRobot does)"},
      {"pinned", kKind == Kind::pi05
                     ? "conditioned: decided rows are clean, with a time of 0 of their own"
                     : "clamped: decided rows are clean at the time of each step"},
      {"cameras", "any of its slots; absent ones are left out exactly"},
      {"context", "not taken: text is embedded with the prefix"},
      {"batch", "any; each sample has its own cameras and prompt"}};
  return f;
}

}  // namespace

Config config_from(const json& dims, Kind kind) {
  Config c;
  c.adaptive = kind == Kind::pi05;
  read_dims(dims, dimensions_of(c));
  require(
      c.image % c.patch == 0 && c.vision_width % c.vision_heads == 0 &&
          c.q_heads % c.kv_heads == 0 && c.head_dim % 2 == 0,
      "dimensions do not fit: image {} patch {}, vision width {} heads {}, heads {} over {}, head "
      "width {}",
      c.image, c.patch, c.vision_width, c.vision_heads, c.q_heads, c.kv_heads, c.head_dim);
  return c;
}

Model::Dimensions dimensions(const Config& c) {
  return {.image_height = static_cast<int>(c.image),
          .image_width = static_cast<int>(c.image),
          .camera_slots = static_cast<int>(c.cameras),
          .token_capacity = static_cast<int>(c.prompt_len),
          .horizon = static_cast<int>(c.horizon),
          .action = static_cast<int>(c.action_dim),
          .state = static_cast<int>(c.action_dim)};
}

Family pi05_family() {
  Family f = describe<Kind::pi05>();
  f.name = "pi05";
  f.summary =
      "pi0.5: time modulates the action expert; contracts say if the state is in the prompt";
  return f;
}

Family pi0_family() {
  Family f = describe<Kind::pi0>();
  f.name = "pi0";
  f.summary = "pi0: state token, action-time MLP";
  return f;
}

}  // namespace tendon::pi05
