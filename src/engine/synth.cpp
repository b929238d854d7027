#include "engine/synth.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/rng.h"
#include "models/family.h"
#include "preprocess/contract.h"
#include "preprocess/tokenizer_training.h"
#include "weights/synthetic.h"

namespace tendon {

using nlohmann::json;

namespace {

// Full size is what the contract's policies were published with: its horizon and prompt length too.
json dimensions(const Family& f, const SynthOptions& o, const Contract& c, const json& overrides) {
  const bool full = o.size == SynthOptions::Size::full;
  json dims = full ? f.full_dims() : f.mini_dims();
  if (full && dims.contains("horizon")) dims["horizon"] = c.horizon;
  if (full && dims.contains("prompt_len")) dims["prompt_len"] = c.prompt.capacity;
  for (const auto& [key, value] : overrides.items()) {
    require(dims.contains(key), "--dims: {} has no dimension \"{}\"; its dimensions are {}", f.name,
            key, dims.dump());
    dims[key] = value;
  }
  return dims;
}

Contract published_contract(const Family& f, const SynthOptions& o) {
  Contract c = builtin_contract(o.contract.empty() ? std::string(f.usual_contract) : o.contract);
  require(c.model == f.name, "contract {} is for {}, not for {}", c.name, c.model, f.name);
  return c;
}

// The contract at these dimensions.
Contract at_dimensions(Contract c, const Family& f, const json& dims) {
  const Model::Dimensions d = f.dimensions(dims);
  c.horizon = d.horizon;
  c.action_dim = d.action;
  c.state_width = d.state;
  c.state_dim = std::min(c.state_dim, d.state);
  c.returned_dims = std::min(c.returned_dims, d.action);
  c.prompt.capacity = d.token_capacity;
  set_picture_size(c.images, d.image_height, d.image_width);
  validate(c);
  return c;
}

// Numbers that look like a robot's: ranges of different sizes, none degenerate.
json feature_statistics(const std::string& feature, int width) {
  const std::uint64_t h = fnv1a64("statistics." + feature);
  json f;
  for (int i = 0; i < width; ++i) {
    const double middle =
        0.2 * unit_from_bits(synthetic_bits(h, static_cast<std::uint64_t>(2 * i)));
    const double half =
        0.6 + 0.4 * unit_from_bits(synthetic_bits(h, static_cast<std::uint64_t>(2 * i + 1)));
    f["mean"].push_back(middle);
    f["std"].push_back(half / 2);
    f["q01"].push_back(middle - half);
    f["q99"].push_back(middle + half);
    f["min"].push_back(middle - 1.2 * half);
    f["max"].push_back(middle + 1.2 * half);
  }
  return f;
}

// Widths of the features that a contract's normalisations read.
void add_widths(const Normalisation& n, int width, std::map<std::string, int>& widths) {
  for (const StatisticsSlice& slice : n.features) {
    int& w = widths[slice.feature];
    w = std::max(w, slice.count > 0 ? slice.begin + slice.count : width);
  }
}

// The form of file that the normalisation's formula comes from.
void write_statistics(const std::filesystem::path& folder, const Contract& c) {
  std::map<std::string, int> widths;
  add_widths(c.state, c.state_dim, widths);
  add_widths(c.actions, c.returned_dims, widths);
  json all;
  if (c.state.formula == Formula::affine) {
    for (const auto& [feature, width] : widths) {
      const json plain = feature_statistics(feature, width);
      for (const auto& [key, values] : plain.items())
        all[feature]["default"]["global_" + key] = values;
    }
    write_file(folder / (c.name + "_dataset_stats.json"), all.dump(1));
    return;
  }
  for (const auto& [feature, width] : widths) {
    all["norm_stats"][feature] = feature_statistics(feature, width);
  }
  write_file(folder / "norm_stats.json", all.dump(1));
}

void write_tokenizer(const std::filesystem::path& folder, const Family& f, const json& dims) {
  const std::vector<std::string> lines = training_lines();
  const int vocabulary = std::min(dims.at("vocab").get<int>(), 1000);
  if (f.byte_level_tokenizer) {
    write_file(folder / "tokenizer.json", train_byte_bpe(lines, vocabulary));
  } else {
    write_file(folder / "tokenizer.model", train_sentencepiece(lines, vocabulary));
  }
}

std::map<std::string, std::string> metadata_of(const Family& f) {
  std::map<std::string, std::string> metadata;
  for (const auto& [name, rule] : f.named_after) metadata[name] = rule;
  if (metadata.empty()) metadata["format"] = "pt";
  return metadata;
}

// The tensors of one file, "" for the policy's own: names lose the file's part.
SyntheticFile file_of(const std::vector<TensorSpec>& all, const std::string& part, DType dtype) {
  SyntheticFile file;
  for (TensorSpec spec : all) {
    const std::size_t colon = spec.name.find(':');
    const std::string of = colon == std::string::npos ? "" : spec.name.substr(0, colon);
    if (of != part) continue;
    if (colon != std::string::npos) spec.name = spec.name.substr(colon + 1);
    spec.dtype = dtype;
    file.tensors.push_back(std::move(spec));
  }
  return file;
}

// Globs of factors for one file.
std::vector<std::string> factors_of(const Family& f, const std::string& part) {
  std::vector<std::string> globs;
  for (const std::string& glob : f.factors) {
    const std::size_t colon = glob.find(": ");
    if (colon == std::string::npos) {
      globs.push_back(glob);
    } else if (glob.substr(0, colon) == part) {
      globs.push_back(glob.substr(colon + 2));
    }
  }
  return globs;
}

void write_weights(const Family& f, const SynthOptions& o, const json& dims) {
  const std::vector<TensorSpec> all = f.tensors(dims);
  std::map<std::string, std::string> files;  // part -> file name
  for (const TensorSpec& spec : all) {
    const std::size_t colon = spec.name.find(':');
    const std::string part = colon == std::string::npos ? "" : spec.name.substr(0, colon);
    files[part] = part.empty() || part == "policy" ? "model.safetensors" : part + ".safetensors";
  }
  SyntheticRule rule;
  rule.scale = parse_synthetic_scale(o.rule);
  rule.prefix = o.prefix;
  for (const auto& [part, name] : files) {
    SyntheticFile file = file_of(all, part, o.dtype);
    file.metadata = metadata_of(f);
    file.threads = o.threads;
    file.progress = o.progress;
    rule.factors = factors_of(f, part);
    write_synthetic(o.folder / name, file, rule);
  }
}

}  // namespace

void synthesise(const SynthOptions& o, const json& overrides) {
  const Family& f = family(o.family);
  const Contract published = published_contract(f, o);
  const json dims = dimensions(f, o, published, overrides);
  const Contract contract = at_dimensions(published, f, dims);
  std::filesystem::create_directories(o.folder);
  write_weights(f, o, dims);
  write_statistics(o.folder, contract);
  write_tokenizer(o.folder, f, dims);
  json description = to_json(contract);
  description["dims"] = dims;
  write_file(o.folder / "tendon.json", description.dump(1) + "\n");
}

}  // namespace tendon
