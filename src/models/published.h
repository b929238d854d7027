// What every family says of itself in the same way: its dimensions as JSON, what a checkpoint's
// shapes tell of them, and its published tensors.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "models/model.h"
#include "weights/scope.h"

namespace tendon {

// One dimension of a family's config struct: its name in JSON, the tensor's extent that shows it
// (or how many tensors there are, numbered by a # in the name), and another name that recordings
// and config files use for it.
struct Dimension {
  const char* name;
  std::int64_t* value;
  const char* other = nullptr;
  std::string tensor = {};
  int axis = 0;
};
nlohmann::json dims_json(std::span<const Dimension> all);
// What `dims` has under either name; the rest stays.
void read_dims(const nlohmann::json& dims, std::span<const Dimension> all);

// Dimensions that shapes do not show. Throws Error that says how to state what is missing.
void require_known(const nlohmann::json& known, std::initializer_list<const char*> names);

// What a checkpoint's shapes tell.
class CheckpointShapes {
 public:
  // `remedy` ends the sentence about a tensor that is missing; `before` stands before every name.
  CheckpointShapes(const Checkpoint& checkpoint, std::string remedy, std::string before = {})
      : checkpoint_(checkpoint), remedy_(std::move(remedy)), before_(std::move(before)) {}

  // Throws Error where there is no such tensor.
  const Shape& of(const std::string& name) const;
  bool has(const std::string& name) const { return checkpoint_.has(before_ + name); }
  // How many of the names that `pattern` makes with a number for its # are there, from 0 on.
  std::int64_t count(const std::string& pattern) const;
  // Every dimension that a tensor shows.
  void read(std::span<const Dimension> all) const;

 private:
  const Checkpoint& checkpoint_;
  std::string remedy_, before_;
};

// The tensors of one file of a layout. Where it is one of several files, `part` ("vae:") stands
// before each name but not in the name its generated values come from.
class TensorList {
 public:
  explicit TensorList(DType stored, std::string part = {})
      : stored_(stored), part_(std::move(part)) {}

  void add(const std::string& name, const Shape& shape) {
    all_.push_back({part_ + name, stored_, shape, part_.empty() ? std::string() : name});
  }
  // A weight and its bias.
  void kernel(const std::string& name, const Shape& shape) {
    add(name + ".weight", shape);
    add(name + ".bias", {shape[0]});
  }
  void linear(const std::string& name, std::int64_t n, std::int64_t k) { kernel(name, {n, k}); }

  std::vector<TensorSpec> take() { return std::move(all_); }

 private:
  DType stored_;
  std::string part_;
  std::vector<TensorSpec> all_;
};

// The published tensors of a family whose bind(options, binder, program) asks for each of them.
template <class F>
std::vector<TensorSpec> asked_tensors(DType stored, F bind) {
  Binder binder(stored);
  Program program;
  ModelOptions options{.working = DType::f32};
  options.savings.trim_last_layer = false;
  bind(options, binder, program);
  return binder.listed();
}

}  // namespace tendon
