#include "nn/tables.h"

#include <cmath>
#include <numbers>
#include <numeric>

namespace tendon::nn {

RopeTable rope_table(std::span<const float> frequencies, std::int64_t positions) {
  RopeTable table;
  table.cos.reserve(frequencies.size() * static_cast<std::size_t>(positions));
  table.sin.reserve(table.cos.capacity());
  for (std::int64_t p = 0; p < positions; ++p) {
    for (float f : frequencies) {
      const float angle = static_cast<float>(p) * f;
      table.cos.push_back(static_cast<float>(std::cos(static_cast<double>(angle))));
      table.sin.push_back(static_cast<float>(std::sin(static_cast<double>(angle))));
    }
  }
  return table;
}

std::vector<float> rope_frequencies(float base, std::int64_t dim) {
  std::vector<float> frequencies;
  for (std::int64_t i = 0; i < dim / 2; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(dim);
    frequencies.push_back(1.0f / std::pow(base, exponent));
  }
  return frequencies;
}

void time_embedding(double t, double shortest, double longest, std::span<float> out) noexcept {
  const std::size_t half = out.size() / 2;
  for (std::size_t i = 0; i < half; ++i) {
    const double fraction = half > 1 ? static_cast<double>(i) / static_cast<double>(half - 1) : 0.0;
    const double period = shortest * std::pow(longest / shortest, fraction);
    const double angle = t * (2.0 * std::numbers::pi / period);
    out[i] = static_cast<float>(std::sin(angle));
    out[i + half] = static_cast<float>(std::cos(angle));
  }
}

std::vector<std::int32_t> counting(std::int64_t n) {
  std::vector<std::int32_t> all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

int bucket_index(std::span<const int> capacities, int n) {
  for (std::size_t i = 0; i < capacities.size(); ++i) {
    if (n <= capacities[i]) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace tendon::nn
