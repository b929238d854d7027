#include "preprocess/compose.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "preprocess/pixels.h"

namespace tendon {

bool is_float(ResizeRule rule) {
  return rule == ResizeRule::letterbox_float || rule == ResizeRule::letterbox_float_dark ||
         rule == ResizeRule::squash_float;
}

void Composer::place(const ImageView& camera_image, const Camera& camera, const Picture& layout,
                     std::uint8_t* picture) {
  ImageView in = camera_image;
  if (camera.turn == Turn::half) {
    turned_.resize(static_cast<std::size_t>(in.height) * in.width * 3);
    rotate_half(in, turned_.data());
    in = {turned_.data(), in.height, in.width, std::ptrdiff_t{in.width} * 3};
  }
  const std::ptrdiff_t stride = std::ptrdiff_t{layout.width} * 3;
  std::uint8_t* corner = picture + camera.top * stride + std::ptrdiff_t{camera.left} * 3;
  switch (rule_) {
    case ResizeRule::letterbox: {
      const Letterbox box = letterbox(in.height, in.width, camera.height, camera.width);
      for (int y = 0; y < camera.height; ++y) {
        std::memset(corner + y * stride, 0, std::size_t(camera.width) * 3);
      }
      resizer_.resize(in, box.height, box.width, corner + box.top * stride + box.left * 3, stride);
      return;
    }
    case ResizeRule::squash:
      resizer_.resize(in, camera.height, camera.width, corner, stride);
      return;
    case ResizeRule::crop: {
      const CoverCrop cut = cover_crop(in.height, in.width, camera.height, camera.width);
      covered_.resize(static_cast<std::size_t>(cut.height) * cut.width * 3);
      resizer_.resize(in, cut.height, cut.width, covered_.data(), std::ptrdiff_t{cut.width} * 3);
      for (int y = 0; y < camera.height; ++y) {
        const auto* row =
            covered_.data() + (std::ptrdiff_t{cut.top + y} * cut.width + cut.left) * 3;
        std::memcpy(corner + y * stride, row, std::size_t(camera.width) * 3);
      }
      return;
    }
    default:
      fail("this resize rule works on float pictures");
  }
}

void Composer::place(const FloatView& in, const Camera& camera, const Picture& layout,
                     float* picture) {
  const std::ptrdiff_t pixels = std::ptrdiff_t{in.height} * in.width;
  planes_.resize(pixels * 3);
  for (std::ptrdiff_t i = 0; i < pixels; ++i) {
    const std::ptrdiff_t from = camera.turn == Turn::half ? pixels - 1 - i : i;
    for (int c = 0; c < 3; ++c) planes_[c * pixels + i] = in.data[3 * from + c];
  }
  const bool boxed = rule_ != ResizeRule::squash_float;
  const Letterbox box = boxed ? letterbox(in.height, in.width, camera.height, camera.width)
                              : Letterbox{camera.height, camera.width, 0, 0};
  const std::ptrdiff_t plane = std::ptrdiff_t{box.height} * box.width;
  resized_.resize(plane * 3);
  const FloatView planes{planes_.data(), in.height, in.width};
  const FloatSpan resized{resized_.data(), box.height, box.width};
  boxed ? resizer_.resize_planes(planes, resized)
        : resizer_.resize_planes_antialiased(planes, resized);
  const bool dark = rule_ == ResizeRule::letterbox_float_dark;
  const float low = dark ? -1.0f : 0.0f;
  for (int y = 0; y < camera.height; ++y) {
    float* out = picture + (std::ptrdiff_t{camera.top + y} * layout.width + camera.left) * 3;
    for (int x = 0; x < camera.width; ++x, out += 3) {
      const int sy = y - box.top, sx = x - box.left;
      const bool inside = sy >= 0 && sy < box.height && sx >= 0 && sx < box.width;
      for (int c = 0; c < 3; ++c) {
        out[c] = low;
        if (!inside) continue;
        const float v = resized_[c * plane + std::ptrdiff_t{sy} * box.width + sx];
        out[c] = boxed ? std::clamp(v, low, 1.0f) : v;
      }
    }
  }
}

}  // namespace tendon
