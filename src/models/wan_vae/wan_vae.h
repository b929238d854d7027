// Wan2.2's VAE, its encoder at one frame: a picture to the latent that video models see.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "nn/recorder.h"
#include "weights/checkpoint.h"

namespace tendon {
class Scope;
}

namespace tendon::wan_vae {

inline constexpr std::int64_t kLatent = 48;

struct Conv {
  WeightRef weight, bias;  // [O, kh, kw, C]
};

struct ResidualBlock {
  nn::Norm norm1, norm2;
  Conv conv1, conv2;
  nn::Linear shortcut;  // absent where the width stays
};

struct Stage {
  std::array<ResidualBlock, 2> blocks;
  Conv down;  // absent in the last
};

struct Weights {
  Conv in, head;
  std::array<Stage, 4> stages;
  std::array<ResidualBlock, 2> middle;
  nn::Norm attention_norm, head_norm;
  nn::Linear qkv, proj;
  nn::Linear moments;  // mean and log-variance; bound where taps are recorded
  nn::Linear latent;   // the mean, standardised
};

// Channels that stage i of an encoder of base width `width` ends with.
inline std::int64_t channels(std::int64_t width, std::int64_t stage) {
  return width * (stage == 0 ? 1 : stage == 1 ? 2 : 4);
}

// The file's tensors are asked for under "vae:".
Weights bind(const Scope& root, std::int64_t width, Format format, Program& program);

// [1, Y, X, 3] in [-1, 1] to the standardised mean [1, Y / 16, X / 16, 48], written to `latent`.
void record(const nn::Recorder& r, const Weights& w, Value image, Value latent);

// What a file of the encoder holds, and globs of what it may hold besides and is never read.
std::vector<TensorSpec> tensors(std::int64_t width);
std::vector<std::string> unread();
// From the names of a .pth's state and of diffusers.
std::vector<NameRule> name_rules();

}  // namespace tendon::wan_vae
