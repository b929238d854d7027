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

// A product that may leave the sums of its rows to the norm of a later one, and multiply them by
// the norm's factors of columns.
struct SumsLink {
  std::size_t maker = 0, reader = 0;  // phases
  float* sums = nullptr;              // see ProductPhase::row_sums
  void* scaled = nullptr;             // bf16 [rows][columns]; null: a step writes the factors
};

struct StepPlan {
  std::vector<Phase> phases;
  std::vector<PackedWeights> weights;
  std::vector<SumsLink> links;
  std::vector<std::size_t> ops;  // by phase: the op it began with
  // Of the rows of all rotations; or null.
  const std::int32_t* positions = nullptr;
  int position_count = 1;
  int heads_width = 0, unit_rows = 0;  // the most of any attention
  DType heads = DType::bf16;           // of its operands
};

// Whether the norms of an op's q and k can be left to those who read them.
bool defers_head_norms(const Trace& trace, const ops::QkvRope& op);

// Throws Error, in words about the trace, where an op or a shape does not suit. What depends on
// the number of groups is left open: spans of attention, parts of factors.
StepPlan build_step(Planner& planner);

}  // namespace tendon::cuda::persistent
