// UMT5's encoder: prompts to text rows, one layer at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "models/model.h"
#include "weights/checkpoint.h"

namespace tendon::umt5 {

struct Config {
  std::int64_t vocab = 256384, width = 4096, attention = 4096, ffn = 10240, heads = 64, layers = 24,
               buckets = 32;
};

// From the shapes of a file that is there. Throws Error where a tensor is missing.
Config config_of(const Checkpoint& checkpoint);

// Tensors are asked for under "text:". The checkpoint outlives the encoder.
std::unique_ptr<TextEncoder> make_encoder(const Config& config, DType working,
                                          const Checkpoint& checkpoint);

// The published tensors.
std::vector<TensorSpec> tensors(const Config& config);
// From Transformers' names.
std::vector<NameRule> name_rules();

}  // namespace tendon::umt5
