// Dimensions, tensor names and rules of the family.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "models/lingbot_vla/lingbot_vla.h"
#include "models/published.h"

namespace tendon::lingbot_vla {

using nlohmann::json;

namespace {

std::vector<Dimension> dimensions_of(Config& c) {
  return {{"image", &c.image},
          {"patch", &c.patch},
          {"window", &c.window},
          {"v_width", &c.v_width},
          {"v_heads", &c.v_heads},
          {"v_depth", &c.v_depth},
          {"v_mlp", &c.v_mlp},
          {"width", &c.width},
          {"mlp", &c.mlp},
          {"layers", &c.layers},
          {"heads", &c.heads},
          {"kv_heads", &c.kv_heads},
          {"head_dim", &c.head_dim},
          {"vocab", &c.vocab},
          {"e_width", &c.e_width},
          {"e_mlp", &c.e_mlp},
          {"action_dim", &c.action_dim},
          {"state_dim", &c.state_dim},
          {"chunk", &c.chunk},
          {"lmax", &c.lmax},
          {"cameras", &c.cameras}};
}

const std::string kStack = "model.qwenvl_with_expert.";
const std::string kVisual = kStack + "qwenvl.visual.";
const std::string kPrefix = kStack + "qwenvl.model.";
const std::string kExpert = kStack + "qwen_expert.model.";

json to_json(Config c) {
  json dims = dims_json(dimensions_of(c));
  dims["v_full"] = c.v_full;
  return dims;
}

json full_dims() { return to_json(Config{}); }

json mini_dims() {
  Config c;
  c.image = 112, c.window = 56, c.v_width = 96, c.v_heads = 2, c.v_depth = 4, c.v_mlp = 132;
  c.v_full = {1, 3}, c.width = 256, c.mlp = 352, c.layers = 3, c.head_dim = 16, c.vocab = 512;
  c.e_width = 96, c.e_mlp = 176, c.chunk = 6, c.lmax = 48;
  return to_json(c);
}

json dims_of(const Checkpoint& checkpoint, const json& known) {
  Config d;
  const CheckpointShapes shapes(checkpoint, "this is no LingBot-VLA checkpoint");
  const Shape& patch = shapes.of(kVisual + "patch_embed.proj.weight");
  d.v_width = patch[0], d.patch = patch[3];
  d.v_depth = shapes.count(kVisual + "blocks.", ".norm1.weight");
  d.v_mlp = shapes.of(kVisual + "blocks.0.mlp.gate_proj.weight")[0];
  d.layers = shapes.count(kPrefix + "layers.", ".self_attn.k_proj.weight");
  const Shape& gate = shapes.of(kPrefix + "layers.0.mlp.gate_proj.weight");
  d.mlp = gate[0], d.width = gate[1];
  const Shape& expert = shapes.of(kExpert + "layers.0.mlp.gate_proj.weight");
  d.e_mlp = expert[0], d.e_width = expert[1];
  d.vocab = shapes.of(kPrefix + "embed_tokens.weight")[0];
  d.action_dim = shapes.of("model.action_in_proj.weight")[1];
  d.state_dim = shapes.of("model.state_proj.weight")[1];
  json dims = to_json(d);
  const bool published = d.v_width == 1280 && d.width == 2048;
  for (const char* key : {"v_heads", "v_full", "window", "head_dim"}) {
    if (!published) require_known(known, {key});
    if (known.contains(key)) dims[key] = known[key];
  }
  const std::int64_t head = dims["head_dim"];
  dims["kv_heads"] = shapes.of(kPrefix + "layers.0.self_attn.k_proj.weight")[0] / head;
  dims["heads"] = shapes.of(kPrefix + "layers.0.self_attn.q_proj.weight")[0] / head;
  dims["image"] = known.at("image_height");
  dims["chunk"] = known.at("horizon");
  dims["lmax"] = known.at("prompt_len");
  dims["cameras"] = known.at("cameras");
  return dims;
}

void vision_tensors(const Config& c, TensorList& s) {
  const std::int64_t d = c.v_width;
  s.add(kVisual + "patch_embed.proj.weight", {d, 3, 2, c.patch, c.patch});
  for (std::int64_t i = 0; i < c.v_depth; ++i) {
    const std::string at = kVisual + "blocks." + std::to_string(i) + ".";
    s.add(at + "norm1.weight", {d});
    s.add(at + "norm2.weight", {d});
    s.linear(at + "attn.qkv", 3 * d, d);
    s.linear(at + "attn.proj", d, d);
    s.linear(at + "mlp.gate_proj", c.v_mlp, d);
    s.linear(at + "mlp.up_proj", c.v_mlp, d);
    s.linear(at + "mlp.down_proj", d, c.v_mlp);
  }
  s.add(kVisual + "merger.ln_q.weight", {d});
  s.linear(kVisual + "merger.mlp.0", 4 * d, 4 * d);
  s.linear(kVisual + "merger.mlp.2", c.width, 4 * d);
}

void layer_tensors(const Config& c, const std::string& at, std::int64_t width, std::int64_t mlp,
                   TensorList& s) {
  const std::int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  s.add(at + "input_layernorm.weight", {width});
  s.add(at + "post_attention_layernorm.weight", {width});
  s.linear(at + "self_attn.q_proj", q, width);
  s.linear(at + "self_attn.k_proj", kv, width);
  s.linear(at + "self_attn.v_proj", kv, width);
  s.add(at + "self_attn.o_proj.weight", {width, q});
  s.add(at + "mlp.gate_proj.weight", {mlp, width});
  s.add(at + "mlp.up_proj.weight", {mlp, width});
  s.add(at + "mlp.down_proj.weight", {width, mlp});
}

std::vector<TensorSpec> tensors(const json& dims) {
  const Config c = config_from(dims);
  const std::int64_t e = c.e_width;
  TensorList s(DType::f32);
  s.linear("model.state_proj", e, c.state_dim);
  s.linear("model.action_in_proj", e, c.action_dim);
  s.linear("model.action_out_proj", c.action_dim, e);
  s.linear("model.action_time_mlp_in", e, 2 * e);
  s.linear("model.action_time_mlp_out", e, e);
  s.add(kPrefix + "embed_tokens.weight", {c.vocab, c.width});
  s.add(kPrefix + "norm.weight", {c.width});
  for (std::int64_t i = 0; i < c.layers; ++i) {
    layer_tensors(c, kPrefix + "layers." + std::to_string(i) + ".", c.width, c.mlp, s);
    const std::string at = kExpert + "layers." + std::to_string(i) + ".";
    layer_tensors(c, at, e, c.e_mlp, s);
    for (const char* norm : {"input_layernorm.", "post_attention_layernorm."}) {
      s.linear(at + norm + "gamma", e, e);
      s.linear(at + norm + "beta", e, e);
    }
  }
  s.add(kExpert + "norm.weight", {e});
  vision_tensors(c, s);
  return s.take();
}

Model::Dimensions model_dimensions(const json& dims) { return dimensions(config_from(dims)); }

std::unique_ptr<Model> make(const json& dims, const ModelOptions& options, Checkpoint& checkpoint) {
  return make_model(config_from(dims), options, checkpoint);
}

}  // namespace

Config config_from(const json& dims) {
  Config c;
  read_dims(dims, dimensions_of(c));
  if (dims.contains("v_full")) c.v_full = dims["v_full"].get<std::vector<std::int64_t>>();
  require(c.image % c.window == 0 && c.window % (2 * c.patch) == 0,
          "image {} and window {}: windows of whole {}-pixel cells that fill the image are wanted",
          c.image, c.window, 2 * c.patch);
  require(c.v_width % c.v_heads == 0 && (c.v_width / c.v_heads) % 4 == 0 &&
              c.heads % c.kv_heads == 0 && c.head_dim % 2 == 0 && c.e_width % 2 == 0,
          "dimensions do not fit: vision width {} heads {}, heads {} over {}, head width {}",
          c.v_width, c.v_heads, c.heads, c.kv_heads, c.head_dim);
  return c;
}

Model::Dimensions dimensions(const Config& c) {
  return {.image_height = static_cast<int>(c.image),
          .image_width = static_cast<int>(c.image),
          .camera_slots = static_cast<int>(c.cameras),
          .token_capacity = static_cast<int>(c.lmax),
          .horizon = static_cast<int>(c.chunk),
          .action = static_cast<int>(c.action_dim),
          .state = static_cast<int>(c.state_dim)};
}

Family lingbot_vla_family() {
  Family f;
  f.name = "lingbot_vla";
  f.summary = "LingBot-VLA: windowed Qwen2.5-VL tower, Qwen2.5 prefix, 768-wide action expert";
  f.stages = {"vision", "prefix", "denoise"};
  f.full_dims = full_dims, f.mini_dims = mini_dims, f.dims_of = dims_of;
  f.tensors = tensors, f.make = make, f.recorded_call = recorded_call;
  f.dimensions = model_dimensions;
  f.usual_contract = "lingbot_vla";
  f.byte_level_tokenizer = true;
  f.unused = {kPrefix + "norm.weight"};
  f.factors = {"*.norm1.weight",
               "*.norm2.weight",
               "*.merger.ln_q.weight",
               "*.input_layernorm.weight",
               "*.post_attention_layernorm.weight",
               "*.model.norm.weight"};
  f.marks = {kVisual + "patch_embed.proj.weight", "model.action_time_mlp_in.weight"};
  f.capabilities = {{"steps", "any number up to --max-steps; Euler from t = 1 to 0"},
                    {"schedule", "bf16 (as deployed: 50 steps are 51, 100 are 94) or exact"},
                    {"pinned", "clamped: decided rows are clean at the time of each step"},
                    {"cameras", "any of its slots; absent ones are left out exactly"},
                    {"context", "not taken: text is embedded with the prefix"},
                    {"batch", "any; each sample has its own cameras and prompt"}};
  return f;
}

}  // namespace tendon::lingbot_vla
