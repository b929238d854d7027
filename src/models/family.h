// Model families: what the engine, the commands and the tests know of each, as data and functions.
#pragma once

#include <map>
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

// One inference of a recording: what its inputs hold, and the call they make.
struct RecordedInput {
  Shape shape;
  std::vector<float> values;  // whole numbers for tokens and bytes
};
using RecordedInputs = std::map<std::string, RecordedInput, std::less<>>;

struct RecordedCall {
  ModelInput input;
  // What `input` points to.
  std::vector<std::vector<float>> floats;
  std::vector<std::vector<std::int32_t>> tokens;
  // Which recorded rows the engine computes: (sample, slot) of each camera given, in order; and for
  // each sample the row number, in the unpruned layout, of each packed prefix row.
  std::vector<std::pair<int, int>> cameras;
  std::vector<std::vector<int>> prefix_rows;
};

struct Family {
  std::string_view name;
  std::string_view summary;
  std::vector<Capability> capabilities;
  std::vector<std::string_view> stages;

  // Dimensions in the family's own words, a flat JSON object: as published, and small.
  nlohmann::json (*full_dims)() = nullptr;
  nlohmann::json (*mini_dims)() = nullptr;
  // What the tensors' shapes tell; `known` (from a contract or a config file) fills in the rest.
  // Throws Error naming what is missing and where to say it.
  nlohmann::json (*dims_of)(const Checkpoint& checkpoint, const nlohmann::json& known) = nullptr;

  // The published tensors, and globs of those that inference never reads. Where a checkpoint has
  // several files, names begin with the file's: "vae:", "policy:", "text:".
  std::vector<TensorSpec> (*tensors)(const nlohmann::json& dims) = nullptr;
  std::vector<std::string> unused;
  // Synthetic values: globs of tensors that multiply (1 + 0.1u); names whose values another name
  // gives.
  std::vector<std::string> factors;
  std::vector<std::pair<std::string, std::string>> named_after;
  // What a contract says too, of these dimensions.
  Model::Dimensions (*dimensions)(const nlohmann::json& dims) = nullptr;
  // Generated checkpoints: the contract they follow and the kind of their tokenizer.
  std::string_view usual_contract;
  bool byte_level_tokenizer = false;
  // Names (after the rules below) that together only this family's files hold.
  std::vector<std::string> marks;
  // How published layouts rename tensors.
  std::vector<NameRule> name_rules;
  // Layouts that `convert` writes the policy in: from the names after the rules above. The first is
  // the usual one; none: the names stay.
  struct WrittenLayout {
    std::string_view name;
    std::vector<NameRule> rules;
  };
  std::vector<WrittenLayout> written_layouts;
  // For layouts that rules cannot rename, since they stack or transpose: the published name of a
  // stored tensor that is one published tensor (else empty), and what gives all of them their
  // names.
  std::string (*published_name)(std::string_view stored) = nullptr;
  void (*define_tensors)(Checkpoint& checkpoint) = nullptr;

  std::unique_ptr<Model> (*make)(const nlohmann::json& dims, const ModelOptions& options,
                                 Checkpoint& checkpoint) = nullptr;
  // Null where the policy embeds its tokens itself. `checkpoint` outlives what is made.
  std::unique_ptr<TextEncoder> (*make_text_encoder)(const nlohmann::json& dims, DType working,
                                                    const Checkpoint& checkpoint) = nullptr;
  std::string text_mark;  // a tensor that a checkpoint with the text encoder holds
  // `record` is the case's entry in the recording (camera_mask, steps, shift, pinned, ..).
  RecordedCall (*recorded_call)(const nlohmann::json& dims, const nlohmann::json& record,
                                const RecordedInputs& inputs) = nullptr;
};

// All families, in the order of the table.
std::span<const Family> families();

// Throws Error that lists the names where `name` is none.
const Family& family(std::string_view name);

}  // namespace tendon
