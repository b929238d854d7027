#include "backends/cuda/elements.h"

namespace tendon::cuda {
namespace {

// Strides of b against the shape of out: 0 where b is broadcast.
device::Strided broadcast(const Planner& planner, Value b, Value out) {
  device::Strided s = planner.strided(b);
  const Shape &from = planner.trace().shape(b), &to = planner.trace().shape(out);
  for (int d = 0; d < to.rank(); ++d) {
    if (from[d] != to[d]) s.stride[d] = 0;
  }
  return s;
}

template <class T>
StridedArgs pair_args(Planner& planner, const T& op, StridedArgs::Kind kind) {
  StridedArgs p;
  p.kind = kind;
  p.a = planner.strided(op.a), p.b = broadcast(planner, op.b, op.out);
  p.out = planner.strided(op.out), p.extents = planner.extents(op.out);
  return p;
}

}  // namespace

RowsArgs rows_args(Planner& planner, const ops::Activation& op) {
  RowsArgs p;
  p.a = planner.rows(op.x), p.out = planner.rows(op.out), p.curve = curve_of(op.act);
  return p;
}

RowsArgs rows_args(Planner& planner, const ops::GatedAct& op) {
  RowsArgs p;
  p.kind = RowsArgs::Kind::gated;
  p.a = planner.rows(op.gate), p.b = planner.rows(op.up), p.out = planner.rows(op.out);
  p.curve = curve_of(op.act);
  return p;
}

RowsArgs rows_args(Planner& planner, const ops::Axpy& op) {
  RowsArgs p;
  p.kind = RowsArgs::Kind::axpy;
  p.a = planner.rows(op.x), p.b = planner.rows(op.v), p.out = planner.rows(op.out);
  p.scale = planner.table(op.scale, p.out.count);
  p.factor = op.factor;
  return p;
}

RowsArgs rows_args(Planner& planner, const ops::Select& op) {
  RowsArgs p;
  p.kind = RowsArgs::Kind::select;
  p.a = planner.rows(op.a), p.b = planner.rows(op.b), p.out = planner.rows(op.out);
  p.mask = planner.data<const std::int32_t>(op.mask);
  return p;
}

StridedArgs strided_args(Planner& planner, const ops::Copy& op) {
  StridedArgs p;
  p.a = planner.strided(op.x), p.out = planner.strided(op.out);
  p.extents = planner.extents(op.out);
  if (p.a.dtype == DType::i32 && p.out.dtype == DType::i32) p.kind = StridedArgs::Kind::raw;
  return p;
}

StridedArgs strided_args(Planner& planner, const ops::Add& op) {
  return pair_args(planner, op, StridedArgs::Kind::add);
}

StridedArgs strided_args(Planner& planner, const ops::Mul& op) {
  return pair_args(planner, op, StridedArgs::Kind::mul);
}

GatherArgs gather_args(Planner& planner, const ops::GatherRows& op) {
  GatherArgs p;
  p.x = planner.rows(op.x), p.out = planner.rows(op.out);
  p.index = planner.data<const std::int32_t>(op.index);
  p.raw = p.x.dtype == DType::i32 && p.out.dtype == DType::i32;
  return p;
}

}  // namespace tendon::cuda
