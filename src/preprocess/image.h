// Pictures in memory: rows of RGB bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tendon {

// RGB u8 [height, width, 3], rows `stride` bytes apart. Never owns.
struct ImageView {
  const std::uint8_t* data = nullptr;
  int height = 0, width = 0;
  std::ptrdiff_t stride = 0;
  const std::uint8_t* row(int y) const { return data + y * stride; }
};

// Dense f32 [height, width, 3]. Never owns.
struct FloatView {
  const float* data = nullptr;
  int height = 0, width = 0;
};
struct FloatSpan {
  float* data = nullptr;
  int height = 0, width = 0;
};

// Owning, dense RGB u8 [height, width, 3]. resize() keeps its memory.
class ImageBuffer {
 public:
  ImageBuffer() = default;
  ImageBuffer(int height, int width) { resize(height, width); }
  void resize(int height, int width) {
    height_ = height;
    width_ = width;
    bytes_.resize(static_cast<std::size_t>(height) * width * 3);
  }
  int height() const { return height_; }
  int width() const { return width_; }
  std::uint8_t* data() { return bytes_.data(); }
  const std::uint8_t* data() const { return bytes_.data(); }
  std::size_t size() const { return bytes_.size(); }
  std::uint8_t* row(int y) { return data() + static_cast<std::ptrdiff_t>(y) * width_ * 3; }
  ImageView view() const { return {data(), height_, width_, std::ptrdiff_t{width_} * 3}; }

 private:
  int height_ = 0, width_ = 0;
  std::vector<std::uint8_t> bytes_;
};

}  // namespace tendon
