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
  const auto width = static_cast<std::size_t>(input.shape[-1]);
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

namespace {

// Pictures of one sample, and the rows that the unpruned prefix keeps for them.
void add_pictures(const nlohmann::json& mask, const RecordedPrefix& prefix, RecordedCall& call) {
  const std::size_t number = call.input.samples.size() - 1;
  for (std::size_t slot = 0; slot < mask.size(); ++slot) {
    const bool present = mask[slot].is_boolean() ? mask[slot].get<bool>() : mask[slot] != 0;
    call.input.samples.back().cameras.push_back(nullptr);
    if (!present) continue;
    call.floats.push_back(prefix.picture(number, slot));
    call.input.samples.back().cameras.back() = call.floats.back().data();
    call.cameras.emplace_back(static_cast<int>(number), static_cast<int>(slot));
    for (std::int64_t i = 0; i < prefix.image_rows; ++i) {
      call.prefix_rows.back().push_back(
          static_cast<int>(static_cast<std::int64_t>(slot) * prefix.image_rows + i));
    }
  }
}

// Valid tokens of one sample; `before`: rows of the unpruned prefix before its first.
void add_tokens(std::span<const float> tokens, std::span<const float> valid, std::int64_t before,
                RecordedCall& call) {
  std::vector<std::int32_t> ids;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (valid[i] == 0.0f) continue;
    ids.push_back(static_cast<std::int32_t>(tokens[i]));
    call.prefix_rows.back().push_back(static_cast<int>(before) + static_cast<int>(i));
  }
  call.tokens.push_back(std::move(ids));
  call.input.samples.back().tokens = call.tokens.back();
}

}  // namespace

RecordedCall recorded_prefix_call(const nlohmann::json& record, const RecordedInputs& inputs,
                                  const RecordedPrefix& prefix) {
  RecordedCall call;
  const nlohmann::json& masks = record.at("camera_mask");
  const auto row = [&](std::string_view name) {
    return recorded_row(recorded_input(inputs, name), call.input.samples.size() - 1);
  };
  for (const nlohmann::json& mask : masks) {
    call.input.samples.emplace_back();
    call.prefix_rows.emplace_back();
    add_pictures(mask, prefix, call);
    add_tokens(row("tokens"), row(prefix.token_mask),
               static_cast<std::int64_t>(mask.size()) * prefix.image_rows, call);
    call.input.samples.back().state = row("state");
  }
  add_noise(record, inputs, call);
  return call;
}

}  // namespace tendon
