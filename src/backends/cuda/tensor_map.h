// Descriptions of 16-bit tensors for the tensor copies of sm_90.
#pragma once

#include <cuda.h>

#include <array>
#include <cstdint>

namespace tendon::cuda {

// Extents, strides (elements, of every dimension but the first, which is dense) and the box one
// copy brings: 64 elements of the first dimension as a row of 128 swizzled bytes. Elements outside
// of the tensor come as zeros.
struct MapShape {
  int rank = 2;
  std::array<std::int64_t, 4> extent{}, stride{};
  std::array<std::uint32_t, 4> box{64, 1, 1, 1};  // elements of the tensor that it spans
  std::array<std::uint32_t, 4> step{1, 1, 1, 1};  // every how many of them it takes
};

// Whether pointer and strides suit such a map (16 bytes each).
bool suits_map(const void* data, const MapShape& shape);
// Throws Error where the driver refuses.
CUtensorMap make_map(const void* data, const MapShape& shape);

}  // namespace tendon::cuda
