#include "weights/checkpoint.h"

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "weights/file_source.h"

namespace tendon {
namespace {

std::string expand(std::string_view replacement, const std::vector<std::string>& captures) {
  std::string name;
  for (std::size_t i = 0; i < replacement.size(); ++i) {
    const bool capture = replacement[i] == '$' && i + 1 < replacement.size() &&
                         replacement[i + 1] >= '1' && replacement[i + 1] <= '9';
    if (!capture) {
      name += replacement[i];
      continue;
    }
    const std::size_t n = static_cast<std::size_t>(replacement[++i] - '1');
    require(n < captures.size(), "name rule '{}' has no such '*' for ${}", replacement, n + 1);
    name += captures[n];
  }
  return name;
}

class ViewSource : public TensorSource {
 public:
  ViewSource(const TensorSource& base, TensorView view) : base_(base), view_(std::move(view)) {}

  void read(std::int64_t first, std::int64_t stride, std::int64_t count,
            float* out) const override {
    if (stride == 1) return view_.read(base_, first, count, out);
    for (std::int64_t i = 0; i < count; ++i) view_.read(base_, first + i * stride, 1, out + i);
  }
  const void* raw() const override { return view_.whole() ? base_.raw() : nullptr; }
  void release() const noexcept override { base_.release(); }

 private:
  const TensorSource& base_;
  TensorView view_;
};

}  // namespace

std::string apply_rules(std::span<const NameRule> rules, std::string_view name) {
  std::string result(name);
  for (const NameRule& rule : rules) {
    if (const auto captures = glob_captures(rule.pattern, result)) {
      result = expand(rule.replacement, *captures);
    }
  }
  return result;
}

Checkpoint::Checkpoint(Safetensors files, std::span<const NameRule> rules) {
  files_.push_back(std::make_unique<Safetensors>(std::move(files)));
  const Safetensors& owned = *files_.back();
  origin_ = owned.files().front().path().string();
  metadata_ = owned.metadata();
  for (const StoredTensor& t : owned.tensors()) {
    add({apply_rules(rules, t.name), t.name, t.dtype, t.shape, make_file_source(owned, t)});
  }
  for (const auto& [key, value] : metadata_) {
    const std::string name = apply_rules(rules, key), target = apply_rules(rules, value);
    if (has(target) && !has(name)) alias(name, target);
  }
}

void Checkpoint::add(CheckpointTensor tensor) {
  const auto [at, fresh] = by_name_.emplace(tensor.name, tensors_.size());
  if (!fresh) {
    fail("{}: tensors '{}' and '{}' are both '{}' to the model; remove one", origin_,
         printable(tensors_[at->second]->stored_name), printable(tensor.stored_name),
         printable(tensor.name));
  }
  tensors_.push_back(std::make_unique<CheckpointTensor>(std::move(tensor)));
}

void Checkpoint::alias(std::string name, const std::string& target) {
  const CheckpointTensor* tensor = find(target);
  require(tensor && !has(name), "{}: '{}' cannot be another name of '{}'", origin_, printable(name),
          printable(target));
  aliases_.emplace(std::move(name), tensor->name);
}

void Checkpoint::define(std::string name, const std::string& stored, const TensorView& view,
                        const Shape& shape) {
  const auto at = by_name_.find(stored);
  require(at != by_name_.end(), "{}: tensor '{}' is missing", origin_, printable(stored));
  CheckpointTensor& base = *tensors_[at->second];
  require(base.shape == view.stored() && view.shape().numel() == shape.numel(),
          "{}: tensor '{}' {} does not give '{}' {}", origin_, printable(stored), base.shape.str(),
          printable(name), shape.str());
  base.hidden = true;
  add({std::move(name), base.stored_name, base.dtype, shape,
       std::make_unique<ViewSource>(*base.source, view)});
}

void Checkpoint::merge(Checkpoint other, std::string_view prefix) {
  fingerprint_ = sha256_hex(fingerprint() + std::string(prefix) + other.fingerprint());
  fingerprint_ = "sampled-sha256:" + fingerprint_;
  const std::string before(prefix);
  for (auto& file : other.files_) files_.push_back(std::move(file));
  for (auto& tensor : other.tensors_) {
    tensor->name = before + tensor->name;
    add(std::move(*tensor));
  }
  for (const auto& [name, target] : other.aliases_) alias(before + name, before + target);
  metadata_.merge(other.metadata_);
  if (tensors_.size() == other.tensors_.size()) origin_ = other.origin_;
}

const CheckpointTensor* Checkpoint::find(std::string_view name) const {
  if (const auto at = by_name_.find(name); at != by_name_.end()) return tensors_[at->second].get();
  if (const auto at = aliases_.find(name); at != aliases_.end()) {
    return tensors_[by_name_.find(at->second)->second].get();
  }
  return nullptr;
}

std::string Checkpoint::fingerprint() const {
  if (!fingerprint_.empty()) return fingerprint_;
  return files_.empty() ? std::string() : files_.front()->fingerprint();
}

}  // namespace tendon
