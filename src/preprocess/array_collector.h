// What is behind ObservationBuilder of tendon/arrays.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tendon/arrays.h"

namespace tendon {

// See ObservationBuilder.
class ArrayCollector {
 public:
  explicit ArrayCollector(const PolicyInfo& info);

  void clear();
  void add(std::string_view key, const ArrayView& array);
  void add_text(std::string_view key, std::string_view text);
  void add_other(std::string_view key);
  bool takes(std::string_view key) const { return find(key) != nullptr || is_ignored(key); }
  const std::vector<std::string>& unknown() const { return unknown_; }
  const Observation& observation();

 private:
  const PolicyInfo::Input* find(std::string_view key) const;
  bool is_ignored(std::string_view key) const;
  void add_picture(const PolicyInfo::Input& input, std::string_view key, const ArrayView& array);
  void add_vector(const PolicyInfo::Input& input, std::string_view key, const ArrayView& array);
  void note(std::string_view key);
  bool has_vector(std::string_view key) const;
  bool has_state() const;
  void require_complete() const;

  std::vector<PolicyInfo::Input> inputs_;                // cameras and all vectors
  std::vector<std::vector<std::string>> state_sources_;  // keys that make up the state, each way
  std::vector<std::string> ignored_, unknown_, present_;
  std::vector<std::string> picture_folders_;  // of nested maps that hold cameras only
  bool needs_prompt_ = true, has_prompt_ = false;
  Observation seen_;
  std::vector<std::vector<std::uint8_t>> pixels_;  // one for each of inputs_
};

}  // namespace tendon
