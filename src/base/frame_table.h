// How a camera's frame of bytes becomes its part of a picture [Y, X, 3], as the numbers that
// ops::Resize reads: made on the host for a frame's size, kept on the device until it changes.
#pragma once

#include <cstdint>
#include <span>

namespace tendon {

// The whole numbers: fields, then for the Y rows and for the X columns of a picture where the taps
// of each inner row (column) begin in the frame, [Y], and in the weights, [Y + 1].
namespace frame_table {
enum Field : int {
  kHeight,  // of the frame, whose rows of RGB are dense
  kWidth,
  kTurned,  // 1: the frame is turned by 180 degrees first
  kSmooth,  // 0: bytes after each pass, as Pillow; 1: floats in [0, 1]
  kTop,     // the rectangle of the picture that is this frame's, bars included
  kLeft,
  kRows,  // 0: there is no frame
  kColumns,
  kInnerTop,  // what of it the frame fills; the rest is bars
  kInnerLeft,
  kInnerRows,
  kInnerColumns,
  kFields,
};
constexpr int first_row() { return kFields; }
constexpr int row_weights(int height) { return kFields + height; }
constexpr int first_column(int height) { return kFields + 2 * height + 1; }
constexpr int column_weights(int height, int width) { return first_column(height) + width; }
constexpr int size(int height, int width) { return column_weights(height, width) + width + 1; }

// The weights: what a pixel of 0 to 255 becomes in each channel, [3, 256], of which kSmooth reads
// the ends; the pixel in [0, 1] that bars have; taps, whole numbers of 2^-22 unless kSmooth.
constexpr int kValues = 0, kBar = 768, kTaps = 769;
constexpr int kFraction = 22;  // bits

// Sides of a frame and what the taps of both axes take at most.
constexpr std::int64_t kLongestSide = 16384;
constexpr std::int64_t weights(std::int64_t pixels, int height, int width) {
  const std::int64_t side = pixels < kLongestSide ? pixels : kLongestSide;
  return kTaps + 2 * (side + pixels / side + 1) + 4 * (std::int64_t{height} + width);
}
}  // namespace frame_table

// A frame and its table. Never owns; `data` is [height, width, 3] without gaps.
struct CameraFrame {
  const std::uint8_t* data = nullptr;
  int height = 0, width = 0;
  std::span<const std::int32_t> table;
  std::span<const float> weights;
  std::uint64_t version = 0;  // of what `table` points to: another number after every change
};

}  // namespace tendon
