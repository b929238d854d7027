// From a checkpoint folder to everything a policy is made of: what load(), inspect, check and bench
// share.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "models/family.h"
#include "policy/policy_core.h"
#include "preprocess/contract.h"
#include "preprocess/statistics.h"
#include "tendon/tendon.h"

namespace tendon {

// What a folder says, before any weight is read.
struct Source {
  std::filesystem::path folder;
  Contract contract;
  Statistics statistics;
  const Family* family = nullptr;
  Checkpoint checkpoint;
  nlohmann::json dims;
  DType dtype = DType::bf16;
};

// Reads contract, statistics and the names and shapes of the weights. Throws Error.
Source open_source(const std::filesystem::path& path, const LoadOptions& options);

// What the contract, and tendon.json of the folder (empty: of none), know of dimensions that shapes
// do not show.
nlohmann::json known_dims(const std::filesystem::path& folder, const Contract& contract);

// The options a model of this source is recorded with.
ModelOptions model_options(const Source& source, const LoadOptions& options);

// Compiles the model on a backend.
struct Compiled {
  std::unique_ptr<Model> model;
  std::unique_ptr<Executable> executable;
};
Compiled compile_model(Source& source, const ModelOptions& model, const LoadOptions& options,
                       Backend& backend);

class Policy::Impl {
 public:
  Impl(Source source, const LoadOptions& options);

  PolicyInfo info;
  Source& source() { return source_; }
  PolicyCore& core() { return *core_; }

 private:
  void describe(const Backend& backend, const LoadOptions& options);

  Source source_;  // weights are read in place from its files
  std::unique_ptr<PolicyCore> core_;
};

}  // namespace tendon
