// Complete checkpoint folders that need no download: generated weights, a contract, statistics and
// a small trained tokenizer.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/dtype.h"

namespace tendon {

struct SynthOptions {
  std::string family;            // "pi05", ...
  std::filesystem::path folder;  // made if absent
  enum class Size { mini, full } size = Size::mini;
  std::string rule = "unit";  // "unit" or "tiny"
  std::string prefix;         // before every tensor name when hashing: the model's seed
  DType dtype = DType::f32;   // of every stored tensor
  std::string contract;       // a built-in one of the family; empty: the family's usual
  int threads = 0;
  std::function<void(double done)> progress;
};

// `dims` overrides single dimensions in the family's words. Throws Error; files appear whole or not
// at all.
void synthesise(const SynthOptions& options, const nlohmann::json& dims);

}  // namespace tendon
