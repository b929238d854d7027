// All tensors of a checkpoint under the names a model asks for, wherever their values come from.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weights/safetensors.h"
#include "weights/stored_tensor.h"
#include "weights/tensor_view.h"

namespace tendon {

// Where the values of one tensor come from. Any thread, several at once.
class TensorSource {
 public:
  virtual ~TensorSource() = default;
  // Elements first, first + stride, ... (row-major numbers) as fp32. Throws Error on NaN and
  // infinity.
  virtual void read(std::int64_t first, std::int64_t stride, std::int64_t count,
                    float* out) const = 0;
  // The elements as they lie in the file, dense and aligned; null: nowhere.
  virtual const void* raw() const { return nullptr; }
  // Pages may be dropped; reading again works.
  virtual void release() const noexcept {}
};

struct CheckpointTensor {
  std::string name;         // as models ask for it
  std::string stored_name;  // as the file has it
  DType dtype = DType::f32;
  Shape shape;
  std::unique_ptr<TensorSource> source;
  bool hidden = false;  // only others defined from it count
};

// Renames stored tensors. In `pattern` each `*` stands for any characters, the first for as few as
// possible; `$1`, `$2`, .. in `replacement` are what they stood for. Example, a layout that puts
// the layer before the expert: {"layers.*.blocks.*.*", "mixtures.$2.blocks.$1.$3"}.
struct NameRule {
  std::string pattern, replacement;
};

// Every rule is applied once where it matches, in order.
std::string apply_rules(std::span<const NameRule> rules, std::string_view name);

// Owns the files; Weights bound to it refer to it, so it outlives the Program. Movable. Reading is
// for any thread; the rest is not.
class Checkpoint {
 public:
  Checkpoint() = default;
  // The tensors of a file under their renamed names. A metadata entry "a": "b" where b is stored
  // and a is not makes a another name of b (tied tensors). Throws Error where two get one name.
  explicit Checkpoint(Safetensors files, std::span<const NameRule> rules = {});

  // Throws Error where the name is taken.
  void add(CheckpointTensor tensor);
  // Another name of a tensor that is here.
  void alias(std::string name, const std::string& target);
  // A tensor that is part of one that is here, in another order: how a layout that stacks layers or
  // transposes matrices is given the published names. `stored` itself then no longer counts as a
  // tensor of the checkpoint. Throws Error where `stored` is missing or not of the view's shape.
  void define(std::string name, const std::string& stored, const TensorView& view,
              const Shape& shape);
  // Takes all of `other`, `prefix` before every name.
  void merge(Checkpoint other, std::string_view prefix);

  const CheckpointTensor* find(std::string_view name) const;
  bool has(std::string_view name) const { return find(name) != nullptr; }
  // In no particular order, hidden ones too.
  const std::vector<std::unique_ptr<CheckpointTensor>>& tensors() const { return tensors_; }
  const std::map<std::string, std::string, std::less<>>& aliases() const { return aliases_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  // For messages: the first file's path, or "generated weights".
  const std::string& origin() const { return origin_; }
  void set_origin(std::string origin) { origin_ = std::move(origin); }
  // Tells checkpoints apart, see Safetensors::fingerprint.
  std::string fingerprint() const;
  void set_fingerprint(std::string value) { fingerprint_ = std::move(value); }
  const std::vector<std::unique_ptr<Safetensors>>& files() const { return files_; }

 private:
  std::vector<std::unique_ptr<Safetensors>> files_;
  std::vector<std::unique_ptr<CheckpointTensor>> tensors_;
  std::map<std::string, std::size_t, std::less<>> by_name_;
  std::map<std::string, std::string, std::less<>> aliases_;
  std::map<std::string, std::string> metadata_;
  std::string origin_ = "checkpoint";
  std::string fingerprint_;
};

}  // namespace tendon
