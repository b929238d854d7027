// From a robot's observation to the model's input, and from the model's chunk back to robot
// actions.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "base/frame_table.h"
#include "preprocess/contract.h"
#include "preprocess/statistics.h"
#include "preprocess/tokenizer.h"
#include "tendon/error.h"

namespace tendon {

// One camera image: dense u8, f32 or f64 in [0,1], [d0, d1, d2] with 3 channels first or last. Not
// owned.
struct ImageInput {
  std::string_view key;
  const void* data = nullptr;
  DType dtype = DType::u8;
  int shape[3] = {0, 0, 0};
  std::ptrdiff_t row_bytes =
      0;  // between rows of [h,w,3] bytes; 0: dense, as every other kind must be
  ChannelOrder channels = ChannelOrder::either;  // where they stand; either: as the contract says
};

// Part of the state, in the robot's units. Not owned.
struct VectorInput {
  std::string_view key;
  std::span<const double> values;
};

// Keys are those of the contract; a camera answers to its slot's name too, the state also to
// "state".
struct ObservationView {
  std::span<const ImageInput> images;
  std::span<const VectorInput> vectors;
  std::optional<std::string_view> prompt;
};

// One picture of the model. `bytes` is empty where the resize rule works in float; both and
// `values` are where the device resizes.
struct PreparedPicture {
  bool present = false;             // false: masked, contents undefined
  std::vector<std::uint8_t> bytes;  // [height, width, 3]
  std::vector<float> values;        // [height, width, 3], after the pixel rule
  std::vector<CameraFrame> frames;  // by camera; valid until the next call and as the input's own
};

// What the model gets. Reused from call to call; keeps its memory.
struct PreparedInput {
  std::vector<PreparedPicture> pictures;  // contract.images.pictures order
  std::string text;                       // the pieces as encoded, joined: the key of a text cache
  std::vector<std::int32_t> tokens;       // [capacity], padding after `token_count`
  int token_count = 0;
  std::vector<float> state;  // [state_width], normalised
  double largest_state = 0;  // of its absolute values: above 20 a dimension is far from its data
  std::vector<double>
      robot_state;  // [state_dim], after signs and gripper maps: what deltas are added to
};

struct PreprocessOptions {
  bool truncate_prompt = false;  // otherwise a prompt over capacity is refused
  bool float_pictures = true;    // fill PreparedPicture::values for u8 resize rules too
  // Above 0 the device resizes: pictures have frames alone, of up to this many pixels.
  std::int64_t frame_pixels = 0;
};

// One per thread. No allocation of ours in prepare() and finish() once sizes have been seen.
class Preprocessor {
 public:
  // `tokenizer` may be null where text never arrives as text. Throws Error where contract,
  // statistics and tokenizer do not fit each other.
  Preprocessor(Contract contract, const Statistics& statistics,
               std::unique_ptr<Tokenizer> tokenizer, PreprocessOptions options = {});
  ~Preprocessor();
  Preprocessor(Preprocessor&&) noexcept;
  Preprocessor& operator=(Preprocessor&&) noexcept;

  const Contract& contract() const;
  PreparedInput make_input() const;  // sized for the contract
  // Whether an image or vector of this name is taken; others are refused by prepare().
  bool accepts(std::string_view key) const;

  // All of it, or its parts: the state before the prompt that may hold it.
  Status prepare(const ObservationView& observation, PreparedInput& input) noexcept;
  Status prepare_images(const ObservationView& observation, PreparedInput& input) noexcept;
  Status prepare_state(const ObservationView& observation, PreparedInput& input) noexcept;
  Status prepare_prompt(const ObservationView& observation, PreparedInput& input) noexcept;

  // chunk [rows, action_dim] in model space -> actions [rows, returned_dims] in robot units. NaN is
  // an error.
  Status finish(std::span<const float> chunk, const PreparedInput& input,
                std::span<double> actions) noexcept;
  // The way there for actions [rows, returned_dims] to be pinned: model space [rows, action_dim],
  // dimensions the robot lacks 0.
  Status encode_actions(std::span<const double> actions, const PreparedInput& input,
                        std::span<float> chunk) noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tendon
