// The two norms in one kernel: a row belongs to a warp (narrow rows) or to a CTA.
#pragma once

#include "backends/cuda/planner.h"

namespace tendon::cuda {

struct NormArgs {
  device::RowsView x, out;
  const float* weight = nullptr;
  const float* bias = nullptr;
  float offset = 0, eps = 0;
  device::TableView scale, shift;
  int centered = 0;                           // layer norm: the mean is taken off
  device::Curve curve = device::Curve::none;  // after everything else
};

void plan_norm(Planner& planner, const NormArgs& args);

}  // namespace tendon::cuda
