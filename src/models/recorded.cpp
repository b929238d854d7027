#include "models/recorded.h"

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace tendon {

const RecordedInput& recorded_input(const RecordedInputs& inputs, std::string_view name) {
  const auto it = inputs.find(name);
  require(it != inputs.end(), "recording: the input {} is missing", name);
  return it->second;
}

std::span<const float> recorded_row(const RecordedInput& input, std::size_t b) {
  const auto width = static_cast<std::size_t>(input.shape[1]);
  return std::span<const float>(input.values).subspan(b * width, width);
}

std::vector<float> interleaved(const RecordedInput& planes, std::size_t number) {
  const auto plane = static_cast<std::size_t>(planes.shape[-1] * planes.shape[-2]);
  std::vector<float> pixels(plane * 3);
  const float* from = planes.values.data() + number * plane * 3;
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = from[i % 3 * plane + i / 3];
  return pixels;
}

void add_noise(const nlohmann::json& record, const RecordedInputs& inputs, RecordedCall& call) {
  call.input.noise = recorded_input(inputs, "noise").values;
  call.input.steps = record.at("steps").get<int>();
}

void add_sample(RecordedSample from, RecordedCall& call) {
  ModelSample sample;
  std::vector<int> rows;
  const int number = static_cast<int>(call.input.samples.size());
  const int slots = static_cast<int>(from.pictures.size());
  for (int slot = 0; slot < slots; ++slot) {
    std::vector<float>& picture = from.pictures[static_cast<std::size_t>(slot)];
    sample.cameras.push_back(picture.empty() ? nullptr : picture.data());
    if (picture.empty()) continue;
    call.floats.push_back(std::move(picture));
    call.cameras.emplace_back(number, slot);
    for (int i = 0; i < from.image_rows; ++i) rows.push_back(slot * from.image_rows + i);
  }
  std::vector<std::int32_t> ids;
  for (std::size_t i = 0; i < from.tokens.size(); ++i) {
    if (from.valid[i] == 0.0f) continue;
    ids.push_back(static_cast<std::int32_t>(from.tokens[i]));
    rows.push_back(slots * from.image_rows + static_cast<int>(i));
  }
  call.tokens.push_back(std::move(ids));
  sample.tokens = call.tokens.back();
  sample.state = from.state;
  call.input.samples.push_back(std::move(sample));
  call.prefix_rows.push_back(std::move(rows));
}

}  // namespace tendon
