// Camera images into the model's pictures.
#pragma once

#include <vector>

#include "preprocess/contract.h"
#include "preprocess/image.h"
#include "preprocess/resize.h"

namespace tendon {

// Puts cameras into pictures by the contract's resize rule. Keeps its scratch memory. One per
// thread.
class Composer {
 public:
  explicit Composer(ResizeRule rule) : rule_(rule) {}

  // u8 rules: `in` into its rectangle of `picture` [height, width, 3], whose other pixels stay.
  void place(const ImageView& in, const Camera& camera, const Picture& layout,
             std::uint8_t* picture);

  // Float rules: `in` [h, w, 3] with values in [0,1] into `picture` of the same layout, before the
  // pixel rule.
  void place(const FloatView& in, const Camera& camera, const Picture& layout, float* picture);

 private:
  ResizeRule rule_;
  Resizer resizer_;
  std::vector<std::uint8_t> turned_, covered_;
  std::vector<float> turned_values_, resized_;
};

bool is_float(ResizeRule rule);
bool is_boxed(ResizeRule rule);    // the aspect is kept and the rest filled with bars
float bar_value(ResizeRule rule);  // of bars, before the pixel rule

}  // namespace tendon
