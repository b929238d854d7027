// A recording's inputs as a call: three named cameras [B,3,Y,X], tokens with their mask, state,
// noise.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "models/pi05/pi05.h"

namespace tendon::pi05 {
namespace {

constexpr std::array<std::string_view, 3> kSlots = {"base_0_rgb", "left_wrist_0_rgb",
                                                    "right_wrist_0_rgb"};

const RecordedInput& at(const RecordedInputs& inputs, std::string_view name) {
  const auto it = inputs.find(name);
  require(it != inputs.end(), "recording: the input {} is missing", name);
  return it->second;
}

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
  const Config c = config_from(dims, Kind::pi05);
  RecordedCall call;
  const auto masks = record.at("camera_mask").get<std::vector<std::vector<bool>>>();
  const RecordedInput &tokens = at(inputs, "tokens"), &mask = at(inputs, "token_mask");
  const std::size_t capacity = static_cast<std::size_t>(tokens.shape[1]);
  const std::size_t patches = static_cast<std::size_t>(c.patches());
  for (std::size_t b = 0; b < masks.size(); ++b) {
    ModelSample sample;
    std::vector<int> rows;
    for (std::size_t slot = 0; slot < kSlots.size(); ++slot) {
      if (!masks[b][slot]) {
        sample.cameras.push_back(nullptr);
        continue;
      }
      call.floats.push_back(interleaved(at(inputs, kSlots[slot]), b));
      sample.cameras.push_back(call.floats.back().data());
      call.cameras.emplace_back(static_cast<int>(b), static_cast<int>(slot));
      for (std::size_t p = 0; p < patches; ++p)
        rows.push_back(static_cast<int>(slot * patches + p));
    }
    std::vector<std::int32_t> ids;
    for (std::size_t i = 0; i < capacity; ++i) {
      if (mask.values[b * capacity + i] == 0.0f) continue;
      ids.push_back(static_cast<std::int32_t>(tokens.values[b * capacity + i]));
      rows.push_back(static_cast<int>(kSlots.size() * patches + i));
    }
    call.tokens.push_back(std::move(ids));
    sample.tokens = call.tokens.back();
    const RecordedInput& state = at(inputs, "state");
    const std::size_t width = static_cast<std::size_t>(state.shape[1]);
    sample.state = std::span<const float>(state.values).subspan(b * width, width);
    call.input.samples.push_back(std::move(sample));
    call.prefix_rows.push_back(std::move(rows));
  }
  call.input.noise = at(inputs, "noise").values;
  call.input.steps = record.at("steps").get<int>();
  return call;
}

}  // namespace tendon::pi05
