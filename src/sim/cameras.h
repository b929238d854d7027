// The robot's two cameras: what they see of a world, as a policy gets it.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "sim/world.h"
#include "tendon/tendon.h"

namespace tendon::sim {

// The names a policy of this robot knows its cameras by.
inline constexpr std::array<std::string_view, kCameras> kCameraNames = {"base_0_rgb",
                                                                        "left_wrist_0_rgb"};

// Owns the pictures, square with `size` pixels a side. One thread at a time.
class Cameras {
 public:
  explicit Cameras(int size);

  // Takes both pictures.
  void look(World& world);
  // Makes a picture black, as an unplugged camera would.
  void blank(int camera);

  Image picture(int camera) const;  // valid until the next call

 private:
  RayCaster caster_;
  std::array<std::vector<std::uint8_t>, kCameras> pictures_;
};

}  // namespace tendon::sim
