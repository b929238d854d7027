// Dimensions, name rules and the family's entry.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "models/fastwam/fastwam.h"
#include "models/published.h"

namespace tendon::fastwam {

using nlohmann::json;

namespace {

std::vector<Dimension> dimensions_of(Config& c) {
  const std::string video = "policy:mixtures.video.", action = "policy:mixtures.action.";
  const std::string encoder = action + "action_encoder.weight";
  const std::string proprio = "policy:proprio_encoder.weight";
  const std::string video_ffn = video + "blocks.0.ffn.0.weight";
  return {{"image_height", &c.image_height},
          {"image_width", &c.image_width},
          {"vae_width", &c.vae_width, "vae_dim", "vae:encoder.conv1.weight", 0},
          {"layers", &c.layers, "num_layers", action + "blocks.#.modulation"},
          {"heads", &c.heads, "num_heads"},
          {"head_dim", &c.head_dim, "attn_head_dim"},
          {"video_hidden", &c.video.width, {}, video_ffn, 1},
          {"video_ffn", &c.video.ffn, {}, video_ffn, 0},
          {"action_hidden", &c.action.width, {}, encoder, 0},
          {"action_ffn", &c.action.ffn, {}, action + "blocks.0.ffn.0.weight", 0},
          {"text_width", &c.text_width, "text_dim", proprio, 0},
          {"sinusoid_width", &c.sinusoid, "freq_dim", video + "time_embedding.0.weight", 1},
          {"context_len", &c.context_len, "context"},
          {"proprio", &c.state_dim, "proprio_dim", proprio, 1},
          {"action", &c.action_dim, "action_dim", encoder, 1},
          {"horizon", &c.horizon, "action_horizon"}};
}

// Of the text encoder, and the words that recordings use for them in a part of their own.
std::vector<Dimension> text_dimensions_of(umt5::Config& c) {
  return {{"vocab", &c.vocab},
          {"umt5_width", &c.width, "dim"},
          {"umt5_attention", &c.attention, "dim_attn"},
          {"umt5_ffn", &c.ffn, "dim_ffn"},
          {"umt5_heads", &c.heads, "num_heads"},
          {"umt5_layers", &c.layers, "num_layers"},
          {"umt5_buckets", &c.buckets, "num_buckets"}};
}

json to_json(Config c) {
  json dims = dims_json(dimensions_of(c));
  dims.update(dims_json(text_dimensions_of(c.text)));
  return dims;
}

json full_dims() { return to_json(Config{}); }

json mini_dims() {
  Config c;
  c.image_height = 96, c.image_width = 192, c.vae_width = 16;
  c.layers = 3, c.heads = 2;
  c.video = {"video", 192, 384}, c.action = {"action", 96, 256};
  c.text_width = 64;
  c.text = {.vocab = 400, .width = 64, .attention = 64, .ffn = 160, .heads = 4, .layers = 2};
  return to_json(c);
}

json dims_of(const Checkpoint& c, const json& known) {
  Config d;
  const CheckpointShapes shapes(c, "pass the policy's file and the VAE's");
  shapes.read(dimensions_of(d));
  d.head_dim = known.value("head_dim", d.head_dim);
  d.heads = shapes.of("policy:mixtures.action.blocks.0.self_attn.q.weight")[0] / d.head_dim;
  if (c.has("text:norm.weight")) d.text = umt5::config_of(c);
  const char* context = known.contains("context_len") ? "context_len" : "prompt_len";
  require_known(known, {"image_height", "image_width", "horizon", context});
  d.image_height = known["image_height"], d.image_width = known["image_width"];
  d.horizon = known["horizon"], d.context_len = known[context];
  return to_json(d);
}

std::vector<TensorSpec> tensors(const json& dims) { return published_tensors(config_from(dims)); }

Model::Dimensions model_dimensions(const json& dims) { return dimensions(config_from(dims)); }

std::unique_ptr<Model> make(const json& dims, const ModelOptions& options, Checkpoint& checkpoint) {
  return make_model(config_from(dims), options, checkpoint);
}

std::unique_ptr<TextEncoder> make_text(const json& dims, DType working,
                                       const Checkpoint& checkpoint) {
  return umt5::make_encoder(config_from(dims).text, working, checkpoint);
}

// LeRobot's two layouts of the policy and a converted .pt; then the other files' rules.
std::vector<NameRule> rules() {
  std::vector<NameRule> all = {{"model.mot.*", "mot.$1"},
                               {"model.proprio_encoder.*", "proprio_encoder.$1"},
                               {"mot.layers.*.blocks.*.*", "mixtures.$2.blocks.$1.$3"},
                               {"mot.*", "$1"}};
  for (const auto& more : {wan_vae::name_rules(), umt5::name_rules()}) {
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

// LeRobot's: that of the published files, and that of files saved since.
std::vector<Family::WrittenLayout> layouts() {
  const NameRule rest{"mixtures.*", "model.mot.mixtures.$1"};
  const NameRule state{"proprio_encoder.*", "model.proprio_encoder.$1"};
  return {{"mixtures", {rest, state}},
          {"layers", {{"mixtures.*.blocks.*.*", "model.mot.layers.$2.blocks.$1.$3"}, rest, state}}};
}

// Tensors of the layout that no call reads.
std::vector<std::string> unused() {
  std::vector<std::string> all = wan_vae::unread();
  all.insert(all.end(), {"text:*", "policy:mixtures.video.head.*"});
  return all;
}

}  // namespace

Model::Dimensions dimensions(const Config& c) {
  return {.image_height = static_cast<int>(c.image_height),
          .image_width = static_cast<int>(c.image_width),
          .camera_slots = 1,
          .token_capacity = static_cast<int>(c.context_len),
          .horizon = static_cast<int>(c.horizon),
          .action = static_cast<int>(c.action_dim),
          .state = static_cast<int>(c.state_dim),
          .context_width = static_cast<int>(c.text_width)};
}

Config config_from(const json& dims) {
  Config c;
  read_dims(dims, dimensions_of(c));
  json text = dims.value("text_encoder", json::object());
  for (const Dimension& d : text_dimensions_of(c.text)) {
    if (dims.contains(d.name)) text[d.name] = dims[d.name];
  }
  read_dims(text, text_dimensions_of(c.text));
  if (dims.contains("image")) c.image_height = dims["image"][0], c.image_width = dims["image"][1];
  require(c.image_height % 32 == 0 && c.image_width % 32 == 0 && c.image_height > 0 &&
              c.image_width > 0,
          "dimensions: the composed picture is {} x {}; each side must be a multiple of 32",
          c.image_height, c.image_width);
  require(c.head_dim % 2 == 0 && c.head_dim > 6 && c.sinusoid % 2 == 0 &&
              c.text.attention % c.text.heads == 0 && c.context_len > 0 && c.horizon > 0,
          "dimensions do not fit: head width {}, sinusoid {}, text attention {} over {} heads",
          c.head_dim, c.sinusoid, c.text.attention, c.text.heads);
  return c;
}

Family fastwam_family() {
  Family f;
  f.name = "fastwam";
  f.summary = "FastWAM: video expert as a world model, action expert attending to its keys";
  f.stages = {"text", "vision", "prefix", "denoise"};
  f.full_dims = full_dims, f.mini_dims = mini_dims, f.dims_of = dims_of;
  f.dimensions = model_dimensions, f.usual_contract = "fastwam_libero";
  f.tensors = tensors, f.make = make, f.make_text_encoder = make_text;
  f.text_mark = "text:norm.weight";
  f.recorded_call = recorded_call;
  f.unused = unused();
  f.factors = {"*.gamma",        "*.norm_q.weight", "*.norm_k.weight", "*.norm3.weight",
               "*.norm1.weight", "*.norm2.weight",  "norm.weight"};
  f.marks = {"mixtures.video.patch_embedding.weight", "mixtures.action.action_encoder.weight"};
  f.name_rules = rules();
  f.written_layouts = layouts();
  f.capabilities = {
      {"steps", "any number up to --max-steps; Euler from sigma = 1 to 0, shift at run time"},
      {"schedule", "bf16 (as deployed) or exact"},
      {"pinned",
       "renoised (its own); clamped; conditioned, for weights trained with times of 0 for such "
       "rows"},
      {"cameras", "all of its contract, composed to one picture"},
      {"context",
       "text rows of UMT5, encoded layer by layer for a new prompt and kept (--text-cache), or "
       "given (--context)"},
      {"batch", "1"}};
  return f;
}

}  // namespace tendon::fastwam
