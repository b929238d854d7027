// From a recorded step to phases.
#pragma once

#include <string>
#include <vector>

#include "backends/cuda/persistent_kernel.h"
#include "backends/cuda/planner.h"

namespace tendon::cuda::persistent {

// A product phase's weights, for packing.
struct PackedWeights {
  std::size_t phase = 0;
  WeightRef a, b;  // b: the up half of a gated product
};

struct StepPlan {
  std::vector<Phase> phases;
  std::vector<PackedWeights> weights;
  std::vector<std::size_t> ops;  // by phase: the op it began with
  int rows = 0;                  // the most of any product
};

// Throws Error, in words about the trace, where an op or a shape does not suit.
StepPlan build_step(Planner& planner);

}  // namespace tendon::cuda::persistent
