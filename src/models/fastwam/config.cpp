// Dimensions, name rules and the family's entry.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "models/fastwam/fastwam.h"

namespace tendon::fastwam {

using nlohmann::json;

namespace {

// Every dimension, and the other word that recordings and configs use for it.
struct Key {
  const char* name;
  const char* other;
  std::int64_t& (*at)(Config&);
};
#define TENDON_KEY(name, other, member)                              \
  Key {                                                              \
    name, other, [](Config& c) -> std::int64_t& { return c.member; } \
  }
const Key kKeys[] = {TENDON_KEY("image_height", "", image_height),
                     TENDON_KEY("image_width", "", image_width),
                     TENDON_KEY("vae_width", "vae_dim", vae_width),
                     TENDON_KEY("layers", "num_layers", layers),
                     TENDON_KEY("heads", "num_heads", heads),
                     TENDON_KEY("head_dim", "attn_head_dim", head_dim),
                     TENDON_KEY("video_hidden", "", video.width),
                     TENDON_KEY("video_ffn", "", video.ffn),
                     TENDON_KEY("action_hidden", "", action.width),
                     TENDON_KEY("action_ffn", "", action.ffn),
                     TENDON_KEY("text_width", "text_dim", text_width),
                     TENDON_KEY("sinusoid_width", "freq_dim", sinusoid),
                     TENDON_KEY("context_len", "context", context_len),
                     TENDON_KEY("proprio", "proprio_dim", state_dim),
                     TENDON_KEY("action", "action_dim", action_dim),
                     TENDON_KEY("horizon", "action_horizon", horizon),
                     TENDON_KEY("vocab", "vocab", text.vocab),
                     TENDON_KEY("umt5_width", "dim", text.width),
                     TENDON_KEY("umt5_attention", "dim_attn", text.attention),
                     TENDON_KEY("umt5_ffn", "dim_ffn", text.ffn),
                     TENDON_KEY("umt5_heads", "num_heads", text.heads),
                     TENDON_KEY("umt5_layers", "num_layers", text.layers),
                     TENDON_KEY("umt5_buckets", "num_buckets", text.buckets)};
#undef TENDON_KEY
constexpr std::size_t kTextKeys = 7;  // the last ones; recordings hold them in "text_encoder"

json to_json(Config c) {
  json dims;
  for (const Key& key : kKeys) dims[key.name] = key.at(c);
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

Shape shape_of(const Checkpoint& c, const std::string& name) {
  const CheckpointTensor* tensor = c.find(name);
  require(tensor != nullptr, "{}: {} is missing; pass the policy's file and the VAE's", c.origin(),
          name);
  return tensor->shape;
}

std::int64_t count(const Checkpoint& c, const std::string& before, const std::string& after) {
  std::int64_t n = 0;
  while (c.has(before + std::to_string(n) + after)) ++n;
  return n;
}

json dims_of(const Checkpoint& c, const json& known) {
  Config d;
  const std::string video = "policy:mixtures.video.", action = "policy:mixtures.action.";
  const Shape encoder = shape_of(c, action + "action_encoder.weight");
  const Shape proprio = shape_of(c, "policy:proprio_encoder.weight");
  const Shape video_ffn = shape_of(c, video + "blocks.0.ffn.0.weight");
  const Shape action_ffn = shape_of(c, action + "blocks.0.ffn.0.weight");
  d.action.width = encoder[0], d.action_dim = encoder[1];
  d.text_width = proprio[0], d.state_dim = proprio[1];
  d.video.ffn = video_ffn[0], d.video.width = video_ffn[1], d.action.ffn = action_ffn[0];
  d.sinusoid = shape_of(c, video + "time_embedding.0.weight")[1];
  d.layers = count(c, action + "blocks.", ".modulation");
  d.head_dim = known.value("head_dim", std::int64_t{128});
  d.heads = shape_of(c, action + "blocks.0.self_attn.q.weight")[0] / d.head_dim;
  d.vae_width = shape_of(c, "vae:encoder.conv1.weight")[0];
  if (c.has("text:norm.weight")) d.text = umt5::config_of(c);
  const char* context = known.contains("context_len") ? "context_len" : "prompt_len";
  for (const char* key : {"image_height", "image_width", "horizon", context}) {
    require(known.contains(key), "the file does not say \"{}\": name a contract (--contract)", key);
  }
  d.image_height = known["image_height"], d.image_width = known["image_width"];
  d.horizon = known["horizon"], d.context_len = known[context];
  return to_json(d);
}

std::vector<TensorSpec> tensors(const json& dims) { return published_tensors(config_from(dims)); }

Model::Dimensions dimensions(const json& dims) { return dimensions_of(config_from(dims)); }

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

// Tensors of the layout that no call reads.
std::vector<std::string> unused() {
  std::vector<std::string> all = wan_vae::unread();
  all.insert(all.end(), {"text:*", "policy:mixtures.video.head.*"});
  return all;
}

}  // namespace

Model::Dimensions dimensions_of(const Config& c) {
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
  const json text = dims.value("text_encoder", json::object());
  for (std::size_t i = 0; i < std::size(kKeys); ++i) {
    const Key& key = kKeys[i];
    const json& from = i + kTextKeys >= std::size(kKeys) ? text : dims;
    if (dims.contains(key.name)) {
      key.at(c) = dims[key.name].get<std::int64_t>();
    } else if (from.contains(key.other)) {
      key.at(c) = from[key.other].get<std::int64_t>();
    }
  }
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
  f.dimensions = dimensions, f.usual_contract = "fastwam_libero";
  f.tensors = tensors, f.make = make, f.make_text_encoder = make_text;
  f.text_mark = "text:norm.weight";
  f.recorded_call = recorded_call;
  f.unused = unused();
  f.factors = {"*.gamma",        "*.norm_q.weight", "*.norm_k.weight", "*.norm3.weight",
               "*.norm1.weight", "*.norm2.weight",  "norm.weight"};
  f.marks = {"mixtures.video.patch_embedding.weight", "mixtures.action.action_encoder.weight"};
  f.name_rules = rules();
  f.capabilities = {
      {"steps",
       "any number up to the load's maximum; Euler from sigma = 1 to 0, shift at run time"},
      {"pinned",
       "renoised (default), clamped, or conditioned (t = 0 for their rows) for weights "
       "trained with it"},
      {"cameras", "one composed picture"},
      {"context",
       "text rows, encoded by UMT5 layer by layer or given; padding is one key with a "
       "log-count bias"}};
  return f;
}

}  // namespace tendon::fastwam
