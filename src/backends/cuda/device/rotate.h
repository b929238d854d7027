// A rotation as device code takes it.
#pragma once

#include <stdint.h>

namespace tendon::cuda::device {

struct Rotation {
  const float* cos = nullptr;  // [P, half], null: no rotation
  const float* sin = nullptr;
  const int32_t* positions = nullptr;
  int position_count = 1;  // token i has positions[i % position_count]
  int interleaved = 0;
};

}  // namespace tendon::cuda::device
