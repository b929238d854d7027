// What recordings of several families have in common.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "models/family.h"

namespace tendon {

// Throws Error that names the input where the recording has none.
const RecordedInput& recorded_input(const RecordedInputs& inputs, std::string_view name);

// Row `b` of an input [B, width].
std::span<const float> recorded_row(const RecordedInput& input, std::size_t b);

// Picture `number` of [B, 3, Y, X] or [3, Y, X] with the channel last.
std::vector<float> interleaved(const RecordedInput& planes, std::size_t number = 0);

// A sample of an [images | text] prefix as recorded: pictures by slot, empty where absent, and
// tokens with their mask, padded to the capacity.
struct RecordedSample {
  std::vector<std::vector<float>> pictures;
  std::span<const float> tokens, valid, state;
  int image_rows = 0;  // tokens of one picture
};
// Appends the sample to `call`, whose spans point into what it keeps and into `state`.
void add_sample(RecordedSample sample, RecordedCall& call);

// The noise and the number of steps of any family's recording.
void add_noise(const nlohmann::json& record, const RecordedInputs& inputs, RecordedCall& call);

}  // namespace tendon
