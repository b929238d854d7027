// The filters behind every resize: which pixels of an axis make one, and with what weights.
#pragma once

#include <cstdint>

namespace tendon {

struct AxisTaps {
  int first = 0, count = 0;
};

// Pillow's triangle filter, which PyTorch's antialiased bilinear is too: writes the weights of
// output i, at most most_taps() numbers.
AxisTaps triangle_taps(int i, int inputs, int outputs, double* weights);
int most_taps(int inputs, int outputs);
// As Pillow rounds them: 22 fractional bits.
std::int32_t fixed_weight(double weight);

// PyTorch's bilinear without antialias: pixels i0 and i1 with weights 1 - f and f.
struct Lerp {
  int i0, i1;
  float f;
};
Lerp lerp_at(int i, int inputs, int outputs);

}  // namespace tendon
