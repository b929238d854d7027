// Camera frames for devices that resize themselves: nothing is resized here, only said how.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/frame_table.h"
#include "preprocess/contract.h"
#include "preprocess/image.h"

namespace tendon {

// One camera's frames. Its table is made anew where a frame has another size than the one before,
// in memory taken at the beginning; only frames with gaps between rows are copied, and take more.
// One per thread; what of() gives lives until its next call.
class FrameMaker {
 public:
  // `picture` of `rules` that the camera number `camera` has a part in; frames of up to `pixels`.
  // The rules are kept by reference.
  FrameMaker(const ImageRules& rules, const Picture& picture, std::size_t camera,
             std::int64_t pixels);

  // Throws Error naming `key` where the frame is too large.
  CameraFrame of(const ImageView& frame, std::string_view key);

 private:
  struct Box {
    int height = 0, width = 0, top = 0, left = 0;
  };
  struct Axis;
  void make_table(int height, int width);
  void add_axis(const Axis& axis);

  const ImageRules* rules_;
  const Picture* picture_;
  const Camera* camera_;
  std::int64_t pixels_;
  int height_ = 0, width_ = 0;
  std::uint64_t version_ = 0;
  std::size_t taps_ = 0;  // numbers of weights_ that are used
  std::vector<std::int32_t> table_;
  std::vector<float> weights_;
  std::vector<double> scratch_;
  std::vector<std::uint8_t> dense_;
};

}  // namespace tendon
