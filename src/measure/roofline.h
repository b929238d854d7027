// Measured ops beside their floor: the time that work and bytes need at the machine's ceilings.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "ops/backend.h"

namespace tendon::measure {

// What the machine does at best, as its backend measured it.
struct Limits {
  double flops = 0;  // FLOP/s
  double bytes = 0;  // B/s of memory
};

struct RooflineRow {
  std::string op, label;
  int count = 0;       // steps of this row
  double seconds = 0;  // of all of them, as flops and bytes
  double flops = 0, bytes = 0;
  double floor = 0;  // seconds: the larger of flops / ceiling and bytes / ceiling
  double share() const {
    return seconds > 0 ? floor / seconds : 0;
  }  // of the limit that is reached
};

// One row for each op and label in which numbers are replaced by # ("prefix.#.o_proj"), in order of
// first appearance. `runs`: how often the trace runs in one inference.
std::vector<RooflineRow> roofline(std::span<const Executable::StepTime> steps, const Limits& limits,
                                  int runs = 1);

// The sum of all rows, labelled "total".
RooflineRow total(std::span<const RooflineRow> rows);

// op, label, count, time, GFLOP, bytes, FLOP/s, B/s, share: aligned text.
std::string roofline_table(std::span<const RooflineRow> rows);

}  // namespace tendon::measure
