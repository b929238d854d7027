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
  const auto picture = [&](std::size_t sample, std::size_t slot) {
    return interleaved(recorded_input(inputs, kSlots.at(slot)), sample);
  };
  return recorded_prefix_call(record, inputs,
                              {.token_mask = "token_mask",
                               .image_rows = config_from(dims, Kind::pi05).patches(),
                               .picture = picture});
}

}  // namespace tendon::pi05
