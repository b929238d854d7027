#include "preprocess/array_collector.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "preprocess/array_convert.h"
#include "preprocess/text.h"

namespace tendon {
namespace {

constexpr std::size_t kNamesKept = 32;

bool names(const PolicyInfo::Input& input, std::string_view key) {
  return input.key == key ||
         std::find(input.aliases.begin(), input.aliases.end(), key) != input.aliases.end();
}

std::string_view folder_of(std::string_view key) {
  const std::size_t slash = key.find('/');
  return slash == std::string_view::npos ? std::string_view{} : key.substr(0, slash);
}

}  // namespace

ArrayCollector::ArrayCollector(const PolicyInfo& info)
    : inputs_(info.inputs), ignored_(info.ignored), needs_prompt_(info.needs_prompt) {
  std::vector<std::string> first;
  for (const PolicyInfo::Input& input : info.inputs) {
    if (input.size > 0) first.push_back(input.key);
  }
  if (!first.empty()) state_sources_.push_back(first);
  for (const auto& form : info.state_forms) {
    std::vector<std::string> keys;
    for (const PolicyInfo::Input& input : form) {
      keys.push_back(input.key);
      if (find(input.key) == nullptr) inputs_.push_back(input);
    }
    state_sources_.push_back(std::move(keys));
  }
  if (info.state_size > 0 && find("state") == nullptr) {
    inputs_.push_back({.key = "state", .slot = {}, .size = info.state_size, .required = false});
    state_sources_.push_back({"state"});
  }
  for (const PolicyInfo::Input& input : inputs_) {
    if (input.size == 0) picture_folders_.emplace_back(folder_of(input.key));
  }
  std::erase_if(picture_folders_, [&](const std::string& folder) {
    return folder.empty() || std::any_of(inputs_.begin(), inputs_.end(), [&](const auto& input) {
             return input.size > 0 && folder_of(input.key) == folder;
           });
  });
  pixels_.resize(inputs_.size());
}

bool ArrayCollector::is_ignored(std::string_view key) const {
  return std::find(ignored_.begin(), ignored_.end(), key) != ignored_.end();
}

const PolicyInfo::Input* ArrayCollector::find(std::string_view key) const {
  const auto at = std::find_if(inputs_.begin(), inputs_.end(),
                               [&](const PolicyInfo::Input& input) { return names(input, key); });
  return at == inputs_.end() ? nullptr : &*at;
}

void ArrayCollector::clear() {
  seen_.cameras.clear();
  seen_.state.clear();
  seen_.prompt.clear();
  unknown_.clear();
  present_.clear();
  has_prompt_ = false;
}

void ArrayCollector::note(std::string_view key) {
  if (present_.size() < kNamesKept) present_.push_back(printable(key));
}

void ArrayCollector::add(std::string_view key, const ArrayView& array) {
  note(key);
  if (const PolicyInfo::Input* input = find(key)) {
    if (input->size > 0) return add_vector(*input, key, array);
    return add_picture(*input, key, array);
  }
  if (is_ignored(key)) return;
  const std::string_view folder = folder_of(key);
  if (std::find(picture_folders_.begin(), picture_folders_.end(), folder) !=
      picture_folders_.end()) {
    std::vector<std::string> known;
    for (const auto& input : inputs_) {
      if (input.size == 0) known.push_back(input.key);
    }
    fail("camera {} is unknown; this policy takes {}", printable(key), list_some(known, 12));
  }
  if (unknown_.size() < kNamesKept) unknown_.push_back(printable(key));
}

void ArrayCollector::add_other(std::string_view key) {
  note(key);
  const PolicyInfo::Input* input = find(key);
  if (input != nullptr) {
    fail("{}: {} is wanted, something else came", printable(key),
         input->size > 0 ? "an array of numbers" : "a picture");
  }
  if (!is_ignored(key) && unknown_.size() < kNamesKept) unknown_.push_back(printable(key));
}

void ArrayCollector::add_text(std::string_view key, std::string_view text) {
  if (key != "prompt" && key != "task") return add_other(key);
  require_utf8(text, key);
  note(key);
  seen_.prompt = text;
  has_prompt_ = true;
}

void ArrayCollector::add_picture(const PolicyInfo::Input& input, std::string_view key,
                                 const ArrayView& array) {
  const auto index = static_cast<std::size_t>(&input - inputs_.data());
  const Image image = read_picture(key, array, input.channels, pixels_[index]);
  for (auto& camera : seen_.cameras) {
    if (camera.name != input.key) continue;
    camera.image = image;
    return;
  }
  seen_.cameras.push_back({input.key, image});
}

void ArrayCollector::add_vector(const PolicyInfo::Input& input, std::string_view key,
                                const ArrayView& array) {
  const auto wanted = static_cast<std::size_t>(input.size);
  auto at = std::find_if(seen_.state.begin(), seen_.state.end(),
                         [&](const auto& vector) { return vector.name == input.key; });
  if (at == seen_.state.end()) at = seen_.state.insert(at, {input.key, {}});
  read_numbers(key, array, std::size_t{1} << 16, at->values);
  require(at->values.size() == wanted, "{}: {} numbers are wanted, {} came", printable(key), wanted,
          describe(array));
}

bool ArrayCollector::has_vector(std::string_view key) const {
  return std::any_of(seen_.state.begin(), seen_.state.end(),
                     [&](const auto& vector) { return vector.name == key; });
}

bool ArrayCollector::has_state() const {
  return state_sources_.empty() ||
         std::any_of(state_sources_.begin(), state_sources_.end(), [&](const auto& keys) {
           return std::all_of(keys.begin(), keys.end(),
                              [&](const std::string& key) { return has_vector(key); });
         });
}

void ArrayCollector::require_complete() const {
  std::vector<std::string> missing;
  for (const PolicyInfo::Input& input : inputs_) {
    const bool there = std::any_of(seen_.cameras.begin(), seen_.cameras.end(),
                                   [&](const auto& camera) { return camera.name == input.key; });
    if (input.size == 0 && input.required && !there) missing.push_back(input.key);
  }
  if (!has_state()) {
    for (const std::string& key : state_sources_.front()) {
      if (!has_vector(key)) missing.push_back(key);
    }
  }
  if (needs_prompt_ && !has_prompt_) missing.emplace_back("prompt");
  require(missing.empty(), "the observation lacks {}; it has {}", list_some(missing, 12),
          present_.empty() ? "nothing" : list_some(present_, 12));
}

const Observation& ArrayCollector::observation() {
  require_complete();
  return seen_;
}

}  // namespace tendon
