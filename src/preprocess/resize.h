// Resizing pictures: Pillow's bilinear filter on bytes, to the byte, and PyTorch's on floats.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "preprocess/image.h"

namespace tendon {

// Keeps filter tables per size pair and scratch rows: no allocation for sizes seen before. One per
// thread.
class Resizer {
 public:
  Resizer();
  ~Resizer();
  Resizer(Resizer&&) noexcept;
  Resizer& operator=(Resizer&&) noexcept;

  // Writes `height` x `width` RGB pixels to `out`, rows `out_stride` bytes apart. Pillow 11.2's
  // order: columns first, rounded to bytes, then rows; an axis that keeps its size is skipped.
  void resize(const ImageView& in, int height, int width, std::uint8_t* out,
              std::ptrdiff_t out_stride);

  // f32 [h, w, 3] by PyTorch's interpolate(bilinear, align_corners false), without and with
  // antialias.
  void resize_floats(const FloatView& in, const FloatSpan& out);
  void resize_floats_antialiased(const FloatView& in, const FloatSpan& out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The aspect-keeping size inside height x width and where it starts: bars are black and the odd
// pixel of a bar goes to the bottom or right.
struct Letterbox {
  int height = 0, width = 0, top = 0, left = 0;
};
Letterbox letterbox(int in_height, int in_width, int height, int width);

// The size that covers height x width, and the corner of the centre cut.
struct CoverCrop {
  int height = 0, width = 0, top = 0, left = 0;
};
CoverCrop cover_crop(int in_height, int in_width, int height, int width);

}  // namespace tendon
