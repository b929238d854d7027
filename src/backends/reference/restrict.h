// Programs of one op that compute part of what the op computes in its trace.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "ops/trace.h"

namespace tendon::reference {

struct Source {
  const Trace& trace;
  const std::function<std::vector<float>(Value)>& operand;  // dense content
  std::span<const std::int64_t> places;                     // that are wanted
};

struct Restricted {
  std::unique_ptr<Program> program;  // one trace; its buffers hold the operands
  std::vector<Value> outputs;        // buffers, in the order of operands().outputs
};

// How many places an op's result divides into, each computed apart from the others: rows of a
// product, (token, head) pairs of an attention, pixels of a convolution. 0 for the other ops.
std::int64_t places(const Op& op, const Trace& trace);

// The op at source.places. Only for ops that have places.
Restricted restricted(const Op& op, const Source& source);

// The whole op, each operand dense.
Restricted alone(const Op& op, const Source& source);

}  // namespace tendon::reference
