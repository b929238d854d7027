// Arguments of the ops without structure between elements.
#pragma once

#include "backends/cuda/planner.h"

namespace tendon::cuda {

struct RowsArgs {
  enum class Kind : std::uint8_t { activation, gated, axpy, select } kind = Kind::activation;
  device::RowsView a, b, out;
  device::Curve curve = device::Curve::none;
  device::TableView scale;
  float factor = 1.0f;
  const std::int32_t* mask = nullptr;
};

struct StridedArgs {
  enum class Kind : std::uint8_t { copy, raw, add, mul } kind = Kind::copy;  // raw: 4-byte integers
  device::Strided a, b, out;
  device::Extents extents;  // of out
};

struct GatherArgs {
  device::RowsView x, out;
  const std::int32_t* index = nullptr;
  float scale = 1.0f;
  int raw = 0;  // 4-byte integers, bit for bit
};

RowsArgs rows_args(Planner& planner, const ops::Activation& op);
RowsArgs rows_args(Planner& planner, const ops::GatedAct& op);
RowsArgs rows_args(Planner& planner, const ops::Axpy& op);
RowsArgs rows_args(Planner& planner, const ops::Select& op);
StridedArgs strided_args(Planner& planner, const ops::Copy& op);
StridedArgs strided_args(Planner& planner, const ops::Add& op);
StridedArgs strided_args(Planner& planner, const ops::Mul& op);
GatherArgs gather_args(Planner& planner, const ops::GatherRows& op);

}  // namespace tendon::cuda
