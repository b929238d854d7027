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

bool is_boxed(ResizeRule rule) {
  return rule == ResizeRule::letterbox || rule == ResizeRule::letterbox_float ||
         rule == ResizeRule::letterbox_float_dark;
}

float bar_value(ResizeRule rule) { return rule == ResizeRule::letterbox_float_dark ? -1.0f : 0.0f; }

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

void Composer::place(const FloatView& camera_image, const Camera& camera, const Picture& layout,
                     float* picture) {
  FloatView in = camera_image;
  if (camera.turn == Turn::half) {
    const std::size_t size = static_cast<std::size_t>(in.height) * in.width * 3;
    turned_values_.resize(size);
    for (std::size_t i = 0; i < size; i += 3) {
      std::copy_n(in.data + size - 3 - i, 3, turned_values_.data() + i);
    }
    in.data = turned_values_.data();
  }
  const bool boxed = is_boxed(rule_);
  const Letterbox box = boxed ? letterbox(in.height, in.width, camera.height, camera.width)
                              : Letterbox{camera.height, camera.width, 0, 0};
  resized_.resize(static_cast<std::size_t>(box.height) * box.width * 3);
  const FloatSpan resized{resized_.data(), box.height, box.width};
  boxed ? resizer_.resize_floats(in, resized) : resizer_.resize_floats_antialiased(in, resized);
  const float low = bar_value(rule_);
  if (boxed) {
    for (float& v : resized_) v = std::clamp(v, low, 1.0f);
  }
  for (int y = 0; y < camera.height; ++y) {
    float* out = picture + (std::ptrdiff_t{camera.top + y} * layout.width + camera.left) * 3;
    std::fill_n(out, camera.width * 3, low);
    if (y < box.top || y >= box.top + box.height) continue;
    std::copy_n(resized_.data() + std::ptrdiff_t{y - box.top} * box.width * 3, box.width * 3,
                out + box.left * 3);
  }
}

}  // namespace tendon
