// Dimensions and the family's entry.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "models/lingbot_vla/model.h"

namespace tendon::lingbot_vla {

using nlohmann::json;

namespace {

std::vector<Dimension> dimensions_of(Config& c) {
  const std::string patch = names::kVisual + ".patch_embed.proj.weight";
  const std::string block = names::kVisual + ".blocks.";
  std::vector<Dimension> all =
      tendon::dimensions_of(c, {patch, names::kPrefix + ".", names::kExpert + ".", "model."});
  all.insert(all.end(), {{"window", &c.window},
                         {"v_width", &c.v_width, {}, patch, 0},
                         {"v_heads", &c.v_heads},
                         {"v_depth", &c.v_depth, {}, block + "#.norm1.weight"},
                         {"v_mlp", &c.v_mlp, {}, block + "0.mlp.gate_proj.weight", 0},
                         {"state_dim", &c.state_dim, {}, "model.state_proj.weight", 1}});
  return all;
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
  c.v_full = {1, 3}, c.prefix_width = 256, c.prefix_mlp = 352, c.layers = 3, c.head_dim = 16;
  c.vocab = 512, c.expert_width = 96, c.expert_mlp = 176, c.horizon = 6, c.prompt_len = 48;
  return to_json(c);
}

json dims_of(const Checkpoint& checkpoint, const json& known) {
  Config d;
  const CheckpointShapes shapes(checkpoint, "this is no LingBot-VLA checkpoint");
  shapes.read(dimensions_of(d));
  json dims = to_json(d);
  const bool published = d.v_width == 1280 && d.prefix_width == 2048;
  for (const char* key : {"v_heads", "v_full", "window", "head_dim"}) {
    if (!published) require_known(known, {key});
    if (known.contains(key)) dims[key] = known[key];
  }
  const std::int64_t head = dims["head_dim"];
  dims["kv_heads"] = shapes.of(names::kPrefix + ".layers.0.self_attn.k_proj.weight")[0] / head;
  dims["q_heads"] = shapes.of(names::kPrefix + ".layers.0.self_attn.q_proj.weight")[0] / head;
  dims["vocab"] = shapes.of(names::kPrefix + ".embed_tokens.weight")[0];
  dims["image"] = known.at("image_height");
  for (const char* key : {"horizon", "prompt_len", "cameras"}) dims[key] = known.at(key);
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
              c.q_heads % c.kv_heads == 0 && c.head_dim % 2 == 0 && c.expert_width % 2 == 0,
          "dimensions do not fit: vision width {} heads {}, heads {} over {}, head width {}",
          c.v_width, c.v_heads, c.q_heads, c.kv_heads, c.head_dim);
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
