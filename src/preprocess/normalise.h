// One vector's normalisation, ready to run.
#pragma once

#include <span>
#include <vector>

#include "preprocess/statistics.h"

namespace tendon {

// Immutable after construction. Dimensions beyond the statistics follow the formula's own rule: as
// they are for ranges, x * (1 + eps) for openpi's z-score, whose mean and std are padded with 0
// and 1.
class Normaliser {
 public:
  Normaliser() = default;
  // Throws Error where the statistics are shorter than `width` or absent.
  Normaliser(const Statistics& statistics, const Normalisation& rule, int width);

  // Not clamped unless the rule says so. `in` at most as long as the statistics.
  void forward(std::span<const double> in, std::span<double> out) const noexcept;
  void inverse(std::span<const float> in, std::span<double> out) const noexcept;
  // The dimensions that the statistics cover.
  int width() const { return static_cast<int>(shift_.size()); }

 private:
  double forward_one(std::size_t i, double x) const noexcept;
  double inverse_one(std::size_t i, float y) const noexcept;

  Scaling scaling_ = Scaling::identity;
  Formula formula_ = Formula::eps_added;
  double clamp_ = 0;
  // What is subtracted, and the denominators of either direction. affine: offset and scale, in f32.
  std::vector<double> shift_, divide_, multiply_;
};

}  // namespace tendon
