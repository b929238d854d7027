#include "preprocess/normalise.h"

#include <algorithm>
#include <cmath>

namespace tendon {

namespace {

constexpr double kAdded = 1e-6;       // openpi
constexpr double kIfZero = 1e-8;      // LeRobot
constexpr float kLeastRange = 1e-4f;  // affine: below it the scale is 1

bool is_range(Scaling s) { return s == Scaling::min_max || s == Scaling::quantile; }

struct Terms {
  double shift, divide, multiply;
};

Terms affine_terms(Scaling scaling, float low, float high, float mean, float std) {
  float scale, offset;
  if (is_range(scaling)) {
    const float range = high - low;
    scale = range < kLeastRange ? 1.0f : 2.0f / range;
    offset = range < kLeastRange ? -low : -1.0f - scale * low;
  } else {
    scale = 1.0f / (std + 1e-8f);
    offset = -mean / (std + 1e-8f);
  }
  return {offset, scale, scale};
}

Terms if_zero_terms(Scaling scaling, float low, float high, float mean, float std) {
  if (!is_range(scaling)) return {mean, std + static_cast<float>(kIfZero), std};
  float range = high - low;
  if (range == 0) range = static_cast<float>(kIfZero);
  return {low, range, range};
}

Terms added_terms(Scaling scaling, double low, double high, double mean, double std) {
  if (is_range(scaling)) return {low, high - low + kAdded, high - low + kAdded};
  return {scaling == Scaling::std_only ? 0.0 : mean, std + kAdded, std + kAdded};
}

}  // namespace

Normaliser::Normaliser(const Statistics& statistics, const Normalisation& rule, int width)
    : scaling_(rule.scaling), formula_(rule.formula), clamp_(rule.clamp) {
  if (scaling_ == Scaling::identity || width == 0) return;
  const FeatureStatistics f = select(statistics, rule, width);
  const std::vector<double>& low = scaling_ == Scaling::min_max ? f.min : f.q01;
  const std::vector<double>& high = scaling_ == Scaling::min_max ? f.max : f.q99;
  const std::size_t n = is_range(scaling_) ? low.size() : f.std.size();
  for (std::size_t i = 0; i < n; ++i) {
    const double l = i < low.size() ? low[i] : 0, h = i < high.size() ? high[i] : 0;
    const double m = i < f.mean.size() ? f.mean[i] : 0, s = i < f.std.size() ? f.std[i] : 0;
    const auto f32 = [](double v) { return static_cast<float>(v); };
    Terms t{};
    switch (formula_) {
      case Formula::eps_added:
      case Formula::eps_added_f64:
        t = added_terms(scaling_, l, h, m, s);
        break;
      case Formula::eps_if_zero:
        t = if_zero_terms(scaling_, f32(l), f32(h), f32(m), f32(s));
        break;
      case Formula::affine:
        t = affine_terms(scaling_, f32(l), f32(h), f32(m), f32(s));
        break;
    }
    shift_.push_back(t.shift);
    divide_.push_back(t.divide);
    multiply_.push_back(t.multiply);
  }
}

double Normaliser::forward_one(std::size_t i, double x) const noexcept {
  const double d = divide_[i], s = shift_[i];
  const float xf = static_cast<float>(x), df = static_cast<float>(d), sf = static_cast<float>(s);
  if (formula_ == Formula::affine) return xf * df + sf;
  if (formula_ == Formula::eps_if_zero) {
    return is_range(scaling_) ? 2.0f * (xf - sf) / df - 1.0f : (xf - sf) / df;
  }
  return is_range(scaling_) ? (x - s) / d * 2.0 - 1.0 : (x - s) / d;
}

double Normaliser::inverse_one(std::size_t i, float y) const noexcept {
  const double m = multiply_[i], s = shift_[i];
  const float mf = static_cast<float>(m), sf = static_cast<float>(s);
  switch (formula_) {
    case Formula::affine:
      return (y - sf) / mf;
    case Formula::eps_if_zero:
      return is_range(scaling_) ? (y + 1.0f) * mf / 2.0f + sf : y * mf + sf;
    case Formula::eps_added_f64:
      return is_range(scaling_) ? (double{y} + 1.0) / 2.0 * m + s : double{y} * m + s;
    case Formula::eps_added:
      break;
  }
  // The model's output is fp32 until it meets the fp64 statistics.
  return is_range(scaling_) ? double{(y + 1.0f) / 2.0f} * m + s : double{y} * m + s;
}

void Normaliser::forward(std::span<const double> in, std::span<double> out) const noexcept {
  for (std::size_t i = 0; i < in.size(); ++i) {
    const double y = i < shift_.size() ? forward_one(i, in[i]) : in[i];
    out[i] = clamp_ > 0 ? std::clamp(y, -clamp_, clamp_) : y;
  }
}

void Normaliser::inverse(std::span<const float> in, std::span<double> out) const noexcept {
  const bool padded = formula_ == Formula::eps_added && scaling_ == Scaling::mean_std;
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (i < shift_.size()) {
      out[i] = inverse_one(i, in[i]);
    } else {
      out[i] = padded ? double{in[i]} * (1.0 + kAdded) : double{in[i]};
    }
  }
}

}  // namespace tendon
