// A recording's inputs as a call: three named cameras [B,3,Y,X], tokens with their mask, state,
// noise.
#include <nlohmann/json.hpp>

#include "models/pi05/pi05.h"
#include "models/recorded.h"

namespace tendon::pi05 {
namespace {

constexpr std::array<std::string_view, 3> kSlots = {"base_0_rgb", "left_wrist_0_rgb",
                                                    "right_wrist_0_rgb"};

std::vector<float> interleaved(const RecordedInput& image, std::size_t sample) {
  const auto plane = static_cast<std::size_t>(image.shape[2] * image.shape[3]);
  std::vector<float> pixels(plane * 3);
  const float* from = image.values.data() + sample * plane * 3;
  for (std::size_t i = 0; i < plane; ++i) {
    for (std::size_t c = 0; c < 3; ++c) pixels[i * 3 + c] = from[c * plane + i];
  }
  return pixels;
}

}  // namespace

RecordedCall recorded_call(const nlohmann::json& dims, const nlohmann::json& record,
                           const RecordedInputs& inputs) {
  RecordedCall call;
  const auto masks = record.at("camera_mask").get<std::vector<std::vector<bool>>>();
  const RecordedInput& tokens = recorded_input(inputs, "tokens");
  const RecordedInput &mask = recorded_input(inputs, "token_mask"),
                      &state = recorded_input(inputs, "state");
  const auto row = [](const RecordedInput& in, std::size_t b) {
    const auto width = static_cast<std::size_t>(in.shape[1]);
    return std::span<const float>(in.values).subspan(b * width, width);
  };
  for (std::size_t b = 0; b < masks.size(); ++b) {
    RecordedSample sample{.tokens = row(tokens, b),
                          .valid = row(mask, b),
                          .state = row(state, b),
                          .image_rows = static_cast<int>(config_from(dims, Kind::pi05).patches())};
    for (std::size_t slot = 0; slot < kSlots.size(); ++slot) {
      sample.pictures.push_back(masks[b][slot]
                                    ? interleaved(recorded_input(inputs, kSlots[slot]), b)
                                    : std::vector<float>());
    }
    add_sample(std::move(sample), call);
  }
  call.input.noise = recorded_input(inputs, "noise").values;
  call.input.steps = record.at("steps").get<int>();
  return call;
}

}  // namespace tendon::pi05
