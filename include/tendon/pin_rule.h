// How rows of a chunk that are decided already take part in the denoising.
#pragma once

#include <cstdint>

namespace tendon {

enum class PinRule : std::uint8_t {
  family,       // the family's own, see `tendon models`
  conditioned,  // clean, as rows whose time is 0: for weights trained so
  renoised,     // brought to the time of each step with the noise they started from
  clamped,      // clean at the time of each step
};

}  // namespace tendon
