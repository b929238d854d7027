// Weights as the reference holds them: fp32 after rounding to their format.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "ops/trace.h"

namespace tendon::reference {

// Rows [first, first + count) of a weight, rounded to its format.
void read_rounded(const Weight& weight, std::int64_t first, std::int64_t count, float* out);

// A weight as [N, K], in panels of kPanel outputs: panel p holds W[p * kPanel + j][k] at
// [k * kPanel + j], outputs past N being 0.
class Matrix {
 public:
  static constexpr std::int64_t kPanel = 8;

  enum class Keep : std::uint8_t { cached, streamed };
  Matrix(const Weight& weight, Keep keep, int threads);

  std::int64_t outputs() const { return outputs_; }
  std::int64_t inputs() const { return inputs_; }
  std::int64_t panels() const { return (outputs_ + kPanel - 1) / kPanel; }
  std::int64_t panel_size() const { return kPanel * inputs_; }
  std::size_t bytes() const { return cache_.size() * sizeof(float); }
  // Panel p, in `scratch` where it is not cached.
  const float* panel(std::int64_t p, std::vector<float>& scratch) const;

 private:
  void fill(std::int64_t p, float* out) const;

  const Weight* weight_;
  std::int64_t outputs_, inputs_;
  std::vector<float> cache_;
};

// All weights of a program that its ops ask for. References stay valid as long as the store.
class WeightStore {
 public:
  WeightStore(const Program& program, std::size_t cache_bytes, int threads)
      : program_(&program), budget_(cache_bytes), threads_(threads) {}

  const Matrix& matrix(WeightRef ref);
  const std::vector<float>& vector(WeightRef ref);
  const Weight& in_place(WeightRef ref);
  std::size_t bytes() const;
  // Tells the sources of fully cached weights that their pages may go.
  void release() const;

 private:
  const Program* program_;
  std::size_t budget_;
  int threads_;
  std::unordered_map<std::int32_t, std::unique_ptr<Matrix>> matrices_;
  std::unordered_map<std::int32_t, std::vector<float>> vectors_;
  std::unordered_map<std::int32_t, bool> read_later_;
};

}  // namespace tendon::reference
