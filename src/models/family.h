// Model families: what the engine, the commands and the tests know of each, as data and functions.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/model.h"
#include "weights/checkpoint.h"

namespace tendon {

// What a run-time option means for a family: a row of the capability table.
struct Capability {
  std::string_view option, meaning;
};

struct Family {
  std::string_view name;
  std::string_view summary;
  std::vector<Capability> capabilities;
  std::vector<std::string_view> stages;

  // Dimensions in the family's own words, a flat JSON object: as published, and small.
  nlohmann::json (*full_dims)() = nullptr;
  nlohmann::json (*mini_dims)() = nullptr;
  // What the tensors' shapes tell; `known` (from a contract or a config file) fills in the rest. Throws
  // Error naming what is missing and where to say it.
  nlohmann::json (*dims_of)(const Checkpoint& checkpoint, const nlohmann::json& known) = nullptr;

  // The published tensors, and globs of those that inference never reads. Where a checkpoint has several
  // files, names begin with the file's: "vae:", "policy:", "text:".
  std::vector<TensorSpec> (*tensors)(const nlohmann::json& dims) = nullptr;
  std::vector<std::string> unused;
  // Synthetic values: globs of tensors that multiply (1 + 0.1u); names whose values another name gives.
  std::vector<std::string> factors;
  std::vector<std::pair<std::string, std::string>> named_after;
  // How published layouts rename tensors.
  std::vector<NameRule> name_rules;

  std::unique_ptr<Model> (*make)(const nlohmann::json& dims, const ModelOptions& options,
                                 Checkpoint& checkpoint) = nullptr;
};

// All families, in the order of the table.
std::span<const Family> families();

// Throws Error that lists the names where `name` is none.
const Family& family(std::string_view name);

}  // namespace tendon
