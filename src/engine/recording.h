// A recording file: its cases, inputs and stored tensors, as its "record" block describes them.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/family.h"
#include "weights/safetensors.h"
#include "weights/synthetic.h"

namespace tendon {

class Recording {
 public:
  // Null where the JSON has no "record" block. Throws Error where it has a malformed one.
  static std::unique_ptr<Recording> open(const std::filesystem::path& json_file);

  const std::string& name() const { return name_; }  // the file's, without folder and suffix
  const nlohmann::json& record() const { return all_.at("record"); }
  std::string family_of(const nlohmann::json& c) const;
  nlohmann::json dims_of(const nlohmann::json& c) const;
  SyntheticRule rule_of(const nlohmann::json& c) const;
  // What the values of a tensor are rounded to before any run.
  DType stored_as(const std::string& tensor) const;
  RecordedInputs inputs_of(const nlohmann::json& c) const;
  // Stored values as fp32. Throws Error where the file has no such tensor.
  RecordedInput tensor(const std::string& name) const;

 private:
  Recording(std::string name, nlohmann::json all, Safetensors data)
      : name_(std::move(name)), all_(std::move(all)), data_(std::move(data)) {}
  RecordedInput input(const nlohmann::json& spec) const;

  std::string name_;
  nlohmann::json all_;
  Safetensors data_;
};

}  // namespace tendon
