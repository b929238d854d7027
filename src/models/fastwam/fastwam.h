// FastWAM: Wan2.2 VAE encoder, a video expert that is run once for its keys and values, an action
// expert that attends to them, rectified flow from sigma = 1 to 0. Batch is always 1.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "models/family.h"
#include "models/umt5/umt5.h"
#include "models/wan_vae/wan_vae.h"

namespace tendon::fastwam {

struct ExpertConfig {
  std::string name;  // "video", "action"
  std::int64_t width = 0, ffn = 0;
};

struct Config {
  std::int64_t image_height = 224, image_width = 448;
  std::int64_t vae_width = 160;
  std::int64_t layers = 30, heads = 24, head_dim = 128;
  ExpertConfig video{"video", 3072, 14336}, action{"action", 1024, 4096};
  std::int64_t text_width = 4096, sinusoid = 256, context_len = 128;
  std::int64_t state_dim = 8, action_dim = 7, horizon = 32;
  umt5::Config text;

  static constexpr std::int64_t kLatent = wan_vae::kLatent;
  std::int64_t attention() const { return heads * head_dim; }
  std::int64_t grid_rows() const { return image_height / 32; }
  std::int64_t grid_columns() const { return image_width / 32; }
  std::int64_t video_tokens() const { return grid_rows() * grid_columns(); }
};

// Throws Error where the dimensions do not fit together.
Config config_from(const nlohmann::json& dims);

Model::Dimensions dimensions(const Config& config);

// The published tensors: "vae:", "policy:" and "text:".
std::vector<TensorSpec> published_tensors(const Config& config);

std::unique_ptr<Model> make_model(const Config& config, const ModelOptions& options,
                                  Checkpoint& checkpoint);
RecordedCall recorded_call(const nlohmann::json& dims, const nlohmann::json& record,
                           const RecordedInputs& inputs);

Family fastwam_family();

}  // namespace tendon::fastwam
