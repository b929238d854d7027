// Tables computed once on the host: rotary angles, time embeddings, capacities.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tendon::nn {

struct RopeTable {
  std::vector<float> cos, sin;  // [positions, frequencies]
};

// Angle of position p and frequency i is p * frequency[i], rounded to fp32 before cos and sin.
RopeTable rope_table(std::span<const float> frequencies, std::int64_t positions);

// base^(-2i / dim) for i < dim / 2, evaluated as PyTorch ports do: 1 / powf(base, 2i / dim).
std::vector<float> rope_frequencies(float base, std::int64_t dim);

// [sin | cos] of t * 2 pi / period, periods spaced geometrically from `shortest` to `longest`, both
// ends included; fp64 inside, rounded to fp32. out has an even number of entries.
void time_embedding(double t, double shortest, double longest, std::span<float> out) noexcept;

// 0, 1, .. n - 1.
std::vector<std::int32_t> counting(std::int64_t n);

// The first capacity that holds n; capacities ascend. -1: none does.
int bucket_index(std::span<const int> capacities, int n);

}  // namespace tendon::nn
