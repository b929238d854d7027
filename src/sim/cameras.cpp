#include "sim/cameras.h"

#include <algorithm>

namespace tendon::sim {

Cameras::Cameras(int size) : caster_(size) {
  for (auto& picture : pictures_) picture.resize(static_cast<std::size_t>(size) * size * 3);
}

void Cameras::look(World& world) {
  const std::vector<Box>& boxes = world.boxes();
  for (int camera = 0; camera < kCameras; ++camera) {
    caster_.draw(boxes, world.view(camera), scene_light(), pictures_[camera]);
  }
}

void Cameras::blank(int camera) {
  std::fill(pictures_[camera].begin(), pictures_[camera].end(), std::uint8_t{0});
}

Image Cameras::picture(int camera) const {
  return {pictures_[camera].data(), caster_.size(), caster_.size(), 0};
}

}  // namespace tendon::sim
