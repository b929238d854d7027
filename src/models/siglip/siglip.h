// SigLIP's vision tower: a picture's patches to one row each.
#pragma once

#include <cstdint>
#include <vector>

#include "nn/bind.h"

namespace tendon::siglip {

struct Config {
  std::int64_t patches = 256, patch = 14, width = 1152, heads = 16, layers = 27, mlp = 4304;
};

struct Layer {
  nn::Norm norm1, norm2;
  nn::Qkv qkv;  // joined
  nn::Linear out, fc1, fc2;
};

struct Weights {
  nn::Linear patch;
  WeightRef positions;  // [patches, D]
  std::vector<Layer> layers;
  nn::Norm post;
};

// Tensors are asked for by the names of Hugging Face's layout, below `root`.
Weights bind(const nn::Bind& bind, const Scope& root, const Config& config);

// [V, y, x, patch * patch * 3] with the channel last, f32, to [V, N, D]. `numbers`: i32 [N], 0 1
// 2 ..; stages are tapped as "vision.{slot}.NAME".
Value record(const nn::Recorder& r, const Weights& w, Value patches, Value numbers);

}  // namespace tendon::siglip
