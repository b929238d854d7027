// A recording's inputs as a call: three named cameras [B,3,Y,X], tokens with their mask, state,
// noise.
#include <nlohmann/json.hpp>

#include "models/pi05/pi05.h"
#include "models/recorded.h"

namespace tendon::pi05 {
namespace {

constexpr std::array<std::string_view, 3> kSlots = {"base_0_rgb", "left_wrist_0_rgb",
                                                    "right_wrist_0_rgb"};

}  // namespace

RecordedCall recorded_call(const nlohmann::json& dims, const nlohmann::json& record,
                           const RecordedInputs& inputs) {
  RecordedCall call;
  const auto masks = record.at("camera_mask").get<std::vector<std::vector<bool>>>();
  for (std::size_t b = 0; b < masks.size(); ++b) {
    RecordedSample sample{.tokens = recorded_row(recorded_input(inputs, "tokens"), b),
                          .valid = recorded_row(recorded_input(inputs, "token_mask"), b),
                          .state = recorded_row(recorded_input(inputs, "state"), b),
                          .image_rows = static_cast<int>(config_from(dims, Kind::pi05).patches())};
    for (std::size_t slot = 0; slot < kSlots.size(); ++slot) {
      sample.pictures.push_back(masks[b][slot]
                                    ? interleaved(recorded_input(inputs, kSlots[slot]), b)
                                    : std::vector<float>());
    }
    add_sample(std::move(sample), call);
  }
  add_noise(record, inputs, call);
  return call;
}

}  // namespace tendon::pi05
