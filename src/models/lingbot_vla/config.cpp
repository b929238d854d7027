// Dimensions and the family's entry.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "models/lingbot_vla/model.h"

namespace tendon::lingbot_vla {

using nlohmann::json;

namespace {

std::vector<Dimension> dimensions_of(Config& c) {
  const std::string patch = names::kVisual + ".patch_embed.proj.weight";
  const std::string gate = names::kPrefix + ".layers.0.mlp.gate_proj.weight";
  const std::string expert_gate = names::kExpert + ".layers.0.mlp.gate_proj.weight";
  return {{"image", &c.image},
          {"patch", &c.patch, {}, patch, 3},
          {"window", &c.window},
          {"v_width", &c.v_width, {}, patch, 0},
          {"v_heads", &c.v_heads},
          {"v_depth", &c.v_depth, {}, names::kVisual + ".blocks.#.norm1.weight"},
          {"v_mlp", &c.v_mlp, {}, names::kVisual + ".blocks.0.mlp.gate_proj.weight", 0},
          {"width", &c.width, {}, gate, 1},
          {"mlp", &c.mlp, {}, gate, 0},
          {"layers", &c.layers, {}, names::kPrefix + ".layers.#.self_attn.k_proj.weight"},
          {"heads", &c.heads},
          {"kv_heads", &c.kv_heads},
          {"head_dim", &c.head_dim},
          {"vocab", &c.vocab, {}, names::kPrefix + ".embed_tokens.weight", 0},
          {"e_width", &c.e_width, {}, expert_gate, 1},
          {"e_mlp", &c.e_mlp, {}, expert_gate, 0},
          {"action_dim", &c.action_dim, {}, "model.action_in_proj.weight", 1},
          {"state_dim", &c.state_dim, {}, "model.state_proj.weight", 1},
          {"chunk", &c.chunk},
          {"lmax", &c.lmax},
          {"cameras", &c.cameras}};
}

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
  shapes.read(dimensions_of(d));
  json dims = to_json(d);
  const bool published = d.v_width == 1280 && d.width == 2048;
  for (const char* key : {"v_heads", "v_full", "window", "head_dim"}) {
    if (!published) require_known(known, {key});
    if (known.contains(key)) dims[key] = known[key];
  }
  const std::int64_t head = dims["head_dim"];
  dims["kv_heads"] = shapes.of(names::kPrefix + ".layers.0.self_attn.k_proj.weight")[0] / head;
  dims["heads"] = shapes.of(names::kPrefix + ".layers.0.self_attn.q_proj.weight")[0] / head;
  dims["image"] = known.at("image_height");
  dims["chunk"] = known.at("horizon");
  dims["lmax"] = known.at("prompt_len");
  dims["cameras"] = known.at("cameras");
  return dims;
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

Family lingbot_vla_family() {
  Family f;
  f.name = "lingbot_vla";
  f.summary = "LingBot-VLA: windowed Qwen2.5-VL tower, Qwen2.5 prefix, 768-wide action expert";
  f.full_dims = full_dims, f.mini_dims = mini_dims, f.dims_of = dims_of;
  f.recorded_call = recorded_call;
  describe_model<LingBotModel, config_from>(f);
  f.usual_contract = "lingbot_vla";
  f.byte_level_tokenizer = true;
  f.unused = {names::kPrefix + ".norm.weight"};
  f.factors = {"*.norm1.weight",
               "*.norm2.weight",
               "*.merger.ln_q.weight",
               "*.input_layernorm.weight",
               "*.post_attention_layernorm.weight",
               "*.model.norm.weight"};
  f.marks = {names::kVisual + ".patch_embed.proj.weight", "model.action_time_mlp_in.weight"};
  describe_vision_language(f, "bf16 (as deployed: 50 steps are 51, 100 are 94) or exact", kClamped);
  return f;
}

}  // namespace tendon::lingbot_vla
