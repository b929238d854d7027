// Where a checkpoint folder keeps its contract, statistics and tokenizer. What is missing is
// refused with a sentence that says what to pass; nothing is looked for outside the folder.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "preprocess/contract.h"
#include "preprocess/statistics.h"

namespace tendon {

struct ContractQuery {
  std::string asked;  // a built-in name or a JSON file, as the user gave it; empty: from the folder
  std::string model;  // the family that the weights show; empty: not known
};

// By `asked`, else tendon.json, else a LeRobot config.json with its processor files. Throws Error.
Contract resolve_contract(const std::filesystem::path& folder, const ContractQuery& query);

// `given` if not empty; else the files that LeRobot's processors name,
// assets/<asset>/norm_stats.json, norm_stats.json or *dataset_stats.json of the folder. Throws
// Error naming where it looked.
Statistics resolve_statistics(const std::filesystem::path& folder, const Contract& contract,
                              const std::filesystem::path& given, const ArrayReader& reader);

// What LeRobot's config.json and policy_preprocessor.json say (json null where there is none).
// Throws Error for what they leave open.
Contract contract_from_lerobot(const nlohmann::ordered_json& config,
                               const nlohmann::ordered_json& preprocessor,
                               const ContractQuery& query);

// Files that LeRobot's processor lists name as state of their normalisers.
std::vector<std::string> processor_state_files(const nlohmann::ordered_json& processor);

}  // namespace tendon
