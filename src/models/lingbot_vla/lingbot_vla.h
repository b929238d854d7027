// LingBot-VLA: a windowed Qwen2.5-VL vision tower, a 36-layer text stack as prefix, a 768-wide
// action expert whose norms are conditioned on time, flow matching from t = 1 to 0.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "models/vision_language.h"

namespace tendon::lingbot_vla {

inline constexpr VisionLanguageConfig kPublished{.prefix_width = 2048,
                                                 .prefix_mlp = 11008,
                                                 .expert_width = 768,
                                                 .expert_mlp = 2752,
                                                 .layers = 36,
                                                 .q_heads = 16,
                                                 .kv_heads = 2,
                                                 .head_dim = 128,
                                                 .vocab = 151936,
                                                 .prompt_len = 72,
                                                 .state_dim = 75,
                                                 .action_dim = 75,
                                                 .horizon = 50,
                                                 .style = {.qkv_biases = nn::Bind::Biases::all}};

struct Config : VisionLanguageConfig {
  Config() : VisionLanguageConfig(kPublished) {}
  std::int64_t window = 112;
  std::int64_t v_width = 1280, v_heads = 16, v_depth = 32, v_mlp = 3420;
  std::vector<std::int64_t> v_full = {7, 15, 23, 31};  // blocks that attend to a whole camera

  std::int64_t grid() const { return image / patch; }       // patches along a side
  std::int64_t patches() const { return grid() * grid(); }  // of a camera
  std::int64_t cells() const { return patches() / 4; }      // image tokens of a camera
  std::int64_t windows() const { return (image / window) * (image / window); }
  std::int64_t suffix() const { return 1 + horizon; }  // the state, then the actions
};

// Where the parts of the network stand in the published layout.
namespace names {
inline const std::string kStack = "model.qwenvl_with_expert.";
inline const std::string kVisual = kStack + "qwenvl.visual", kPrefix = kStack + "qwenvl.model",
                         kExpert = kStack + "qwen_expert.model";
}  // namespace names

Config config_from(const nlohmann::json& dims);

// For each patch row in window order, its row in raster order; and for each cell in raster order,
// its place in window order. Windows in raster order, cells in raster order within, 2 x 2 patches
// within.
std::vector<std::int32_t> window_order(const Config& config);
std::vector<std::int32_t> raster_order(const Config& config);

// e(t): [sin | cos], evaluated in fp32 as the original does. out has expert_width entries.
void time_embedding(float t, std::span<float> out) noexcept;

// Times of the evaluations and the step between them, in the type of the state: fp32, or bf16 where
// `narrow`. The bf16 loop may take more or fewer steps than were asked for.
struct Times {
  float delta = 0;
  int count = 0;
};
Times time_schedule(int steps, DType type, std::span<float> times) noexcept;

RecordedCall recorded_call(const nlohmann::json& dims, const nlohmann::json& record,
                           const RecordedInputs& inputs);

Family lingbot_vla_family();

}  // namespace tendon::lingbot_vla
