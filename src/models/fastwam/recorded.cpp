// A recording's inputs as a call: the composed picture, token ids or text rows, state, noise.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "models/fastwam/fastwam.h"
#include "models/recorded.h"

namespace tendon::fastwam {
namespace {

const RecordedInput* find(const RecordedInputs& inputs, std::string_view name) {
  const auto it = inputs.find(name);
  return it == inputs.end() ? nullptr : &it->second;
}

// [Y, X, 3] in [-1, 1], from planes of such numbers or from interleaved bytes.
std::vector<float> picture(const RecordedInput& image) {
  if (image.shape[0] == 3) return interleaved(image);
  std::vector<float> pixels(image.values.size());
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = image.values[i] * (2.0f / 255.0f) - 1.0f;
  }
  return pixels;
}

// Rows before the zeros that pad.
std::vector<float> valid_rows(const RecordedInput& context) {
  const auto width = context.shape[-1];
  std::size_t rows = context.values.size() / static_cast<std::size_t>(width);
  auto row = [&](std::size_t i) {
    return context.values.begin() + static_cast<std::ptrdiff_t>(i) * width;
  };
  while (rows > 0 &&
         std::all_of(row(rows - 1), row(rows - 1) + width, [](float v) { return v == 0; })) {
    --rows;
  }
  return {context.values.begin(), row(rows)};
}

PinRule pin_rule(const std::string& variant) {
  if (variant == "a") return PinRule::conditioned;
  if (variant == "b") return PinRule::renoised;
  require(variant == "c", "recording: no way \"{}\" to pin rows is known", variant);
  return PinRule::clamped;
}

}  // namespace

RecordedCall recorded_call(const nlohmann::json& dims, const nlohmann::json& record,
                           const RecordedInputs& inputs) {
  const Config c = config_from(dims);
  RecordedCall call;
  ModelSample sample;
  call.floats.push_back(picture(recorded_input(inputs, "image")));
  sample.cameras.push_back(call.floats.back().data());
  call.cameras.emplace_back(0, 0);
  std::size_t rows = 0;
  if (const RecordedInput* ids = find(inputs, "text_ids")) {
    std::vector<std::int32_t> valid;
    for (float id : ids->values) {
      if (id != 0) valid.push_back(static_cast<std::int32_t>(id));
    }
    rows = valid.size();
    call.tokens.push_back(std::move(valid));
    sample.tokens = call.tokens.back();
  } else {
    call.floats.push_back(valid_rows(recorded_input(inputs, "context")));
    sample.context = call.floats.back();
    rows = call.floats.back().size() / static_cast<std::size_t>(c.text_width);
  }
  // In the original the text comes first, then the padding, then the state.
  std::vector<int> order = {static_cast<int>(c.context_len), static_cast<int>(rows)};
  for (std::size_t i = 0; i < rows; ++i) order.push_back(static_cast<int>(i));
  call.prefix_rows.push_back(std::move(order));
  if (const RecordedInput* state = find(inputs, "state")) sample.state = state->values;
  call.input.samples.push_back(std::move(sample));
  add_noise(record, inputs, call);
  call.input.shift = record.value("shift", 0.0);
  if (record.contains("pinned")) {
    call.input.pinned = recorded_input(inputs, "pinned_prefix").values;
    call.input.pin_rule = pin_rule(record["pinned"].at("variant").get<std::string>());
  }
  return call;
}

}  // namespace tendon::fastwam
