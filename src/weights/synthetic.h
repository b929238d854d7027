// Checkpoints that need no download: values that any program can make again from names alone.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "weights/checkpoint.h"
#include "weights/stored_tensor.h"

namespace tendon {

// How a name and a shape become values. u is unit_from_bits(synthetic_bits(hash of name, index)).
struct SyntheticRule {
  enum class Scale {
    unit,  // two or more dimensions: u * sqrt(3 / fan_in), fan_in all dimensions but the first;
           // else 0.1 u
    tiny,  // 0.125 u and 0.25 u
  };
  Scale scale = Scale::unit;
  std::string prefix;                // before every name when hashing
  std::vector<std::string> factors;  // globs of names that are 1 + 0.1 u
  // Globs of whole names, or of what follows one of their dots, and the power of two that their
  // values are multiplied by.
  std::vector<std::pair<std::string, float>> multiply;
  std::optional<DType> stored_as;  // values rounded to this instead of to the spec's dtype

  // Where not empty, another generator: vector_bits, computed in fp64 and rounded once, and the
  // first law whose glob and rank fit instead of `scale` and `factors`: offset + amplitude * u.
  struct Law {
    std::string glob;
    int rank = 0;  // 0: any
    double offset = 0;
    double amplitude = 0;  // 0: sqrt(3 / fan_in)
  };
  std::vector<Law> laws;
};

// "unit" or "tiny". Throws Error on another name.
SyntheticRule::Scale parse_synthetic_scale(std::string_view name);

// Generates when read; owns nothing large. rule_name (or else name) of each spec makes the values.
Checkpoint synthetic_checkpoint(std::span<const TensorSpec> tensors, const SyntheticRule& rule);

// The values of an input: u * scale over the complete name `name`, no prefix.
void fill_synthetic_input(std::string_view name, float scale, std::span<float> out);

struct SyntheticFile {
  std::vector<TensorSpec> tensors;
  std::map<std::string, std::string> metadata;
  int threads = 0;                            // 0: all
  std::function<void(double done)> progress;  // in [0, 1], from any thread, one call at a time
};
// Writes the tensors as a safetensors file: values generated on several threads, streamed, whole
// file or nothing. Throws Error.
void write_synthetic(const std::filesystem::path& path, const SyntheticFile& file,
                     const SyntheticRule& rule);

}  // namespace tendon
