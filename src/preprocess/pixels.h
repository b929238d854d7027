// From bytes to the numbers that a model reads, and from the arrays that arrive to bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "preprocess/contract.h"
#include "preprocess/image.h"

namespace tendon {

// value[c][byte] in f32, in the operation order of the original code.
using PixelTable = std::array<std::array<float, 256>, 3>;
PixelTable pixel_table(const ImageRules& rules);
// The same for models that read bf16: every operation rounded where the original rounds.
PixelTable pixel_table_bf16(const ImageRules& rules);

// RGB rows -> [height, width, 3].
void to_values(const ImageView& in, const PixelTable& table, float* out);

// Both axes reversed. `out` is dense.
void rotate_half(const ImageView& in, std::uint8_t* out);

// Whether a [d0,d1,d2] array holds its channels first. Throws Error where neither end is 3.
enum class ChannelsAt : std::uint8_t { first, last };
ChannelsAt channels_at(const int shape[3], ChannelOrder order, std::string_view key);

// [3,h,w] -> rows of RGB.
void planes_to_rows(const std::uint8_t* in, int height, int width, std::uint8_t* out);
// trunc(255 * x), modulo 256 as a cast of the original does. Throws Error on NaN and infinities.
void floats_to_bytes(const float* in, std::size_t count, std::uint8_t* out, std::string_view key);
void floats_to_bytes(const double* in, std::size_t count, std::uint8_t* out, std::string_view key);

}  // namespace tendon
