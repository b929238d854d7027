// Finding the contract's cameras and state among what a robot sent.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "preprocess/image.h"
#include "preprocess/pipeline.h"

namespace tendon {

// By documented key, slot name, or the slot's beginning ("base" for "base_0_rgb").
bool takes_image(const ImageRules& rules, std::string_view key);
bool takes_vector(const Contract& contract, std::string_view key);
std::string camera_names(const ImageRules& rules);

// One entry a camera, in the contract's order; null: absent. Throws Error for an unknown or doubled
// key and for a required camera that is absent.
void assign_cameras(const ImageRules& rules, std::span<const ImageInput> images,
                    std::vector<const ImageInput*>& cameras);

// The robot's state vector [state_dim]. Throws Error where it is absent, has another width or is
// not finite.
void collect_state(const Contract& contract, std::span<const VectorInput> vectors,
                   std::vector<double>& state);

// An input in the form that the resize rules take. Floats are [height, width, 3] in [0,1]. Results
// live until the next call. One per thread.
class ImageReader {
 public:
  ImageView bytes(const ImageInput& input, ChannelOrder order);
  FloatView floats(const ImageInput& input, ChannelOrder order);

 private:
  std::vector<std::uint8_t> converted_, rows_;
  std::vector<float> values_;
};

// The contract's pixel rule on values in [0,1], in place.
void apply_pixel_rule(const ImageRules& rules, std::span<float> values);

}  // namespace tendon
