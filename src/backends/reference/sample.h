// Some rows of one op's outputs, for ops whose whole reference would take too long.
#pragma once

#include <functional>
#include <vector>

#include "backends/reference/reference.h"

namespace tendon {

struct SampleRequest {
  const Trace& trace;
  std::size_t op = 0;
  // Content of an operand as dense fp32 before the op ran (an output may be an operand too: an op
  // in place). Asked at least once for each input, never for what is only written.
  std::function<std::vector<float>(Value)> operand;
  // From this many flops on, Linear, GatedLinear, QkvRope, Attention and Conv2d are evaluated at
  // `count` places drawn with `seed`: rows, rows, tokens, (token, head) pairs, pixels. Below it,
  // and all other ops, everywhere.
  double whole_below_flops = 1e9;
  std::int64_t count = 64;
  std::uint64_t seed = 1;
  ReferenceOptions options;
};

struct Sample {
  Value output;                    // of the op
  std::vector<std::int64_t> rows;  // ascending; of the output taken as [.., W]
  std::vector<float> expected;     // [rows, W], rounded to the output's dtype
};

// One Sample for each output of the op. Throws Error.
std::vector<Sample> evaluate_sample(const SampleRequest& request);

}  // namespace tendon
