#include "backends/reference/weights.h"

#include "backends/reference/parallel.h"
#include "base/error.h"
#include "base/half.h"

namespace tendon::reference {

void read_rounded(const Weight& weight, std::int64_t first, std::int64_t count, float* out) {
  require(static_cast<bool>(weight.read), "weight {}: it has no reader", weight.name);
  weight.read(first, count, out);
  if (weight.format != Format::bf16) return;
  const std::int64_t n = count * (weight.shape.numel() / weight.shape[0]);
  for (std::int64_t i = 0; i < n; ++i) out[i] = round_bf16(out[i]);
}

Matrix::Matrix(const Weight& weight, Keep keep, int threads)
    : weight_(&weight),
      outputs_(weight.shape[0]),
      inputs_(outputs_ > 0 ? weight.shape.numel() / outputs_ : 0) {
  if (keep == Keep::streamed) return;
  cache_.resize(static_cast<std::size_t>(panels() * panel_size()));
  parallel_for(threads, panels(),
               [&](std::int64_t p) { fill(p, cache_.data() + p * panel_size()); });
}

void Matrix::fill(std::int64_t p, float* out) const {
  const std::int64_t first = p * kPanel, count = std::min(kPanel, outputs_ - first);
  std::vector<float> rows(static_cast<std::size_t>(panel_size()), 0.0f);
  read_rounded(*weight_, first, count, rows.data());
  for (std::int64_t k = 0; k < inputs_; ++k) {
    for (std::int64_t j = 0; j < kPanel; ++j) out[k * kPanel + j] = rows[j * inputs_ + k];
  }
}

const float* Matrix::panel(std::int64_t p, std::vector<float>& scratch) const {
  if (!cache_.empty()) return cache_.data() + p * panel_size();
  scratch.resize(static_cast<std::size_t>(panel_size()));
  fill(p, scratch.data());
  return scratch.data();
}

const Matrix& WeightStore::matrix(WeightRef ref) {
  std::unique_ptr<Matrix>& slot = matrices_[ref.id];
  if (!slot) {
    const Weight& weight = program_->weight(ref);
    const std::size_t wanted = static_cast<std::size_t>(weight.shape.numel()) * sizeof(float);
    const bool fits = wanted <= budget_;
    slot = std::make_unique<Matrix>(weight, fits ? Matrix::Keep::cached : Matrix::Keep::streamed,
                                    threads_);
    if (fits) budget_ -= wanted;
    read_later_[ref.id] |= !fits;
  }
  return *slot;
}

const std::vector<float>& WeightStore::vector(WeightRef ref) {
  std::vector<float>& values = vectors_[ref.id];
  const Weight& weight = program_->weight(ref);
  if (values.empty()) {
    values.resize(static_cast<std::size_t>(weight.shape.numel()));
    read_rounded(weight, 0, weight.shape[0], values.data());
    read_later_[ref.id] |= false;
  }
  return values;
}

const Weight& WeightStore::in_place(WeightRef ref) {
  read_later_[ref.id] = true;
  return program_->weight(ref);
}

std::size_t WeightStore::bytes() const {
  std::size_t sum = 0;
  for (const auto& [id, matrix] : matrices_) sum += matrix->bytes();
  for (const auto& [id, values] : vectors_) sum += values.size() * sizeof(float);
  return sum;
}

void WeightStore::release() const {
  for (const auto& [id, later] : read_later_) {
    const Weight& weight = program_->weight({id});
    if (!later && weight.release) weight.release();
  }
}

}  // namespace tendon::reference
