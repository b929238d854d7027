// pi0.5 and pi0: SigLIP tower, Gemma-2B prefix, Gemma-300M action expert, flow matching from t = 1
// to 0.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>

#include "models/vision_language.h"

namespace tendon::pi05 {

enum class Kind : std::uint8_t {
  pi05,  // norms modulated by time, no state token
  pi0,
};

inline constexpr VisionLanguageConfig kPublished{
    .prefix_width = 2048,
    .prefix_mlp = 16384,
    .expert_width = 1024,
    .expert_mlp = 4096,
    .layers = 18,
    .q_heads = 8,
    .kv_heads = 1,
    .head_dim = 256,
    .vocab = 257152,
    .prompt_len = 200,
    .state_dim = 32,
    .action_dim = 32,
    .horizon = 50,
    .style = {.act = Act::gelu_tanh, .norm_offset = 1.0f}};

struct Config : VisionLanguageConfig {
  Config() : VisionLanguageConfig(kPublished) {}
  bool adaptive = true;  // Kind::pi05
  std::int64_t vision_width = 1152, vision_heads = 16, vision_layers = 27, vision_mlp = 4304;

  std::int64_t patches() const { return image / patch * (image / patch); }  // of one camera
};

Config config_from(const nlohmann::json& dims, Kind kind);

RecordedCall recorded_call(const nlohmann::json& dims, const nlohmann::json& record,
                           const RecordedInputs& inputs);

Family pi05_family();
Family pi0_family();

}  // namespace tendon::pi05
