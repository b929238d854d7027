// Elements of arrays as they arrive: any type, order and stride.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tendon/arrays.h"

namespace tendon {

// "float32 [7]".
std::string describe(const ArrayView& array);

// All elements in C order. Throws Error naming `key`: more than `limit` elements, or one that is
// not finite.
void read_numbers(std::string_view key, const ArrayView& array, std::size_t limit,
                  std::vector<double>& values);

// A picture as rows of RGB bytes: a view of the array where it holds that, else written into
// `pixels`. Throws Error naming `key`.
Image read_picture(std::string_view key, const ArrayView& array, PolicyInfo::Channels channels,
                   std::vector<std::uint8_t>& pixels);

}  // namespace tendon
