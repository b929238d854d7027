// Pictures of boxes under one distant light, as MuJoCo's renderer draws them, without OpenGL.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tendon::sim {

struct Box {
  float position[3];  // world
  float rotation[9];  // row-major; columns are the box's axes
  float half[3];      // half sizes along its axes
  float colour[3];    // 0..1
};

struct View {
  float position[3];
  float rotation[9];  // row-major; columns are right, up and backwards
  double fovy;        // degrees, vertical
};

struct Light {
  float ambient, diffuse;
  float direction[3];  // unit, the way the light travels
};

// Draws square pictures; keeps its buffers between calls. One thread at a time.
class RayCaster {
 public:
  explicit RayCaster(int size);  // pixels a side

  int size() const { return size_; }

  // Fills `rgb` [size, size, 3], top row first; what no box covers is black.
  void draw(std::span<const Box> boxes, const View& view, const Light& light,
            std::span<std::uint8_t> rgb);

 private:
  int size_, stride_;                  // stride_: size_ rounded up to whole vectors
  std::vector<float> depth_;           // [size, stride]
  std::vector<std::uint32_t> colour_;  // [size, stride], 0xBBGGRR
  std::vector<float> across_;          // [stride]
};

}  // namespace tendon::sim
