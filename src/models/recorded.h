// What recordings of several families have in common.
#pragma once

#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "models/family.h"

namespace tendon {

// Throws Error that names the input where the recording has none.
const RecordedInput& recorded_input(const RecordedInputs& inputs, std::string_view name);

// Row `b` of an input [B, width] or [width].
std::span<const float> recorded_row(const RecordedInput& input, std::size_t b);

// Picture `number` of [B, 3, Y, X] or [3, Y, X] with the channel last.
std::vector<float> interleaved(const RecordedInput& planes, std::size_t number = 0);

// How a family's recordings hold the inputs of an [images | text] prefix besides "tokens" and
// "state", which have a row for each sample.
struct RecordedPrefix {
  std::string_view token_mask;
  std::int64_t image_rows = 0;  // tokens of one picture
  // The picture in a camera's slot, where the record's mask says that there is one.
  std::function<std::vector<float>(std::size_t sample, std::size_t slot)> picture;
};
// A call with the samples, noise and steps of a recording. Its spans point into what it keeps and
// into `inputs`.
RecordedCall recorded_prefix_call(const nlohmann::json& record, const RecordedInputs& inputs,
                                  const RecordedPrefix& prefix);

// The noise and the number of steps of any family's recording.
void add_noise(const nlohmann::json& record, const RecordedInputs& inputs, RecordedCall& call);

}  // namespace tendon
