#include "preprocess/resize_filter.h"

#include <algorithm>
#include <cmath>

namespace tendon {

int most_taps(int inputs, int outputs) {
  const double scale = std::max(static_cast<double>(inputs) / outputs, 1.0);
  return static_cast<int>(std::ceil(scale)) * 2 + 1;
}

AxisTaps triangle_taps(int i, int inputs, int outputs, double* weights) {
  const double step = static_cast<double>(inputs) / outputs;
  const double scale = std::max(step, 1.0);
  const double centre = (i + 0.5) * step;
  const int lo = std::max(0, static_cast<int>(centre - scale + 0.5));
  const int hi = std::min(inputs, static_cast<int>(centre + scale + 0.5));
  double sum = 0;
  for (int j = 0; j < hi - lo; ++j) {
    weights[j] = std::max(0.0, 1.0 - std::abs((j + lo - centre + 0.5) * (1.0 / scale)));
    sum += weights[j];
  }
  for (int j = 0; j < hi - lo; ++j) {
    if (sum != 0) weights[j] *= 1.0 / sum;
  }
  return {lo, hi - lo};
}

std::int32_t fixed_weight(double weight) {
  return static_cast<std::int32_t>(0.5 + weight * (1 << 22));
}

Lerp lerp_at(int i, int inputs, int outputs) {
  const float scale = static_cast<float>(inputs) / static_cast<float>(outputs);
  const float at = std::max(0.0f, scale * (static_cast<float>(i) + 0.5f) - 0.5f);
  const int i0 = std::min(static_cast<int>(at), inputs - 1);
  return {i0, std::min(i0 + 1, inputs - 1), at - static_cast<float>(i0)};
}

}  // namespace tendon
