#include "preprocess/contract_source.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/json_file.h"

namespace tendon {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

namespace {

// In the file's own order: image slots follow it.
ordered_json read_ordered(const fs::path& file) {
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return nullptr;
  try {
    return ordered_json::parse(read_file(file));
  } catch (const json::parse_error& e) {
    fail("{}: not valid JSON from byte {} on", file.string(), e.byte);
  }
}

bool is_openpi_config(const ordered_json& config) {
  return config.is_object() && config.contains("action_horizon") &&
         config.contains("paligemma_variant");
}

std::string names_for(const std::string& model, int horizon) {
  std::string names;
  for (const Contract& c : builtin_contracts()) {
    if (!model.empty() && c.model != model) continue;
    if (horizon > 0 && c.horizon != horizon) continue;
    names += (names.empty() ? "" : ", ") + c.name;
  }
  return names.empty() ? "none built in" : names;
}

int whole(const ordered_json& config, const char* key) {
  const auto at = config.find(key);
  return at != config.end() && at->is_number_integer() ? at->get<int>() : 0;
}

// The converter's config says two numbers; a contract that says others belongs to another
// checkpoint.
void check_openpi_config(const Contract& c, const ordered_json& config) {
  if (!is_openpi_config(config)) return;
  const int horizon = whole(config, "action_horizon"), width = whole(config, "action_dim");
  require(horizon == 0 || horizon == c.horizon,
          "contract {} has a horizon of {}, this checkpoint's config.json says {}; pass another "
          "with --contract "
          "({})",
          c.name, c.horizon, horizon, names_for(c.model, horizon));
  require(width == 0 || width == c.action_dim,
          "contract {} has actions of width {}, this checkpoint's config.json says {}", c.name,
          c.action_dim, width);
}

void check_family(const Contract& c, const std::string& model) {
  require(model.empty() || c.model == model,
          "contract {} is for {}, these weights are {}; pass another with --contract ({})", c.name,
          c.model, model, names_for(model, 0));
}

Contract asked_contract(const std::string& asked) {
  std::error_code error;
  if (fs::is_regular_file(asked, error)) return contract_from_json(read_json_file(asked), asked);
  return builtin_contract(asked);
}

}  // namespace

Contract resolve_contract(const fs::path& folder, const ContractQuery& query) {
  const ordered_json config = read_ordered(folder / "config.json");
  std::error_code error;
  if (!query.asked.empty()) {
    Contract c = asked_contract(query.asked);
    check_family(c, query.model);
    check_openpi_config(c, config);
    return c;
  }
  const fs::path own = folder / "tendon.json";
  if (fs::is_regular_file(own, error)) {
    Contract c = contract_from_json(read_json_file(own), own.string());
    check_family(c, query.model);
    check_openpi_config(c, config);
    return c;
  }
  if (config.is_object() && config.contains("type")) {
    return contract_from_lerobot(config, read_ordered(folder / "policy_preprocessor.json"), query);
  }
  if (is_openpi_config(config)) {
    fail(
        "{}: openpi's config.json does not say robot, prompt and normalisation; pass --contract "
        "with one of {}",
        folder.string(), names_for(query.model, whole(config, "action_horizon")));
  }
  fail(
      "{}: no tendon.json and no LeRobot config.json says what this checkpoint expects; pass "
      "--contract with "
      "one of {}, or the path of a JSON file",
      folder.string(), names_for(query.model, 0));
}

namespace {

bool needs_none(const Contract& c) {
  return c.state.scaling == Scaling::identity && c.actions.scaling == Scaling::identity;
}

Statistics read_any(const fs::path& file, const ArrayReader& reader) {
  std::error_code error;
  require(fs::is_regular_file(file, error), "{}: there is no such statistics file", file.string());
  if (file.extension() != ".safetensors") return read_statistics(file);
  require(static_cast<bool>(reader), "{}: statistics in safetensors cannot be read here",
          file.string());
  return statistics_from_arrays(reader(file), file.string());
}

void merge(Statistics&& from, Statistics& into) {
  if (into.origin.empty()) into.origin = from.origin;
  for (auto& [name, feature] : from.features) into.features.try_emplace(name, std::move(feature));
}

Statistics from_processors(const fs::path& folder, const ArrayReader& reader) {
  Statistics out;
  for (const char* list : {"policy_preprocessor.json", "policy_postprocessor.json"}) {
    for (const std::string& name : processor_state_files(read_ordered(folder / list))) {
      require(name.find('/') == std::string::npos && name.find("..") == std::string::npos,
              "{}: its state file {} lies outside the folder", (folder / list).string(), name);
      merge(read_any(folder / name, reader), out);
    }
  }
  return out;
}

std::vector<fs::path> dataset_stats(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().filename().string().ends_with("dataset_stats.json"))
      found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

Statistics resolve_statistics(const fs::path& folder, const Contract& contract,
                              const fs::path& given, const ArrayReader& reader) {
  if (!given.empty()) return read_any(given, reader);
  if (needs_none(contract)) return {};
  std::error_code error;
  if (contract.state.formula == Formula::eps_if_zero ||
      contract.actions.formula == Formula::eps_if_zero) {
    if (Statistics found = from_processors(folder, reader); !found.features.empty()) return found;
  }
  std::vector<fs::path> places;
  if (!contract.asset.empty())
    places.push_back(folder / "assets" / contract.asset / "norm_stats.json");
  places.push_back(folder / "norm_stats.json");
  for (const fs::path& place : places) {
    if (fs::is_regular_file(place, error)) return read_any(place, reader);
  }
  const std::vector<fs::path> datasets = dataset_stats(folder);
  require(datasets.size() <= 1,
          "{}: there are several statistics files ({} and {}); say which with --statistics",
          folder.string(), datasets.empty() ? "" : datasets[0].string(),
          datasets.size() > 1 ? datasets[1].string() : "");
  if (datasets.size() == 1) return read_any(datasets[0], reader);
  std::string looked;
  for (const fs::path& place : places) looked += (looked.empty() ? "" : ", ") + place.string();
  fail(
      "no statistics for contract {} (looked for {}); without them actions would be in the wrong "
      "units: pass the "
      "file of the training run with --statistics",
      contract.name, looked);
}

}  // namespace tendon
