// Camera frames of the shapes table: the rules they stand for, and their pixels.
#pragma once

#include <vector>

#include "bench/shapes.h"
#include "preprocess/contract.h"

namespace tendon::support {

// One picture of K cameras side by side, by the rule of `s`.
ImageRules image_rules(const shapes::Resize& s);
// Bytes of frame `k` of picture `v`: noise, with a slope so that order shows.
std::vector<std::uint8_t> frame_bytes(const shapes::Resize& s, int v, int k);

}  // namespace tendon::support
