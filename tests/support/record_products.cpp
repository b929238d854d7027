// Linear, GatedLinear, Conv2d, Attention, QkvRope.
#include <cmath>

#include "support/record_case.h"

namespace tendon::support {
namespace {

using namespace shapes;
using Index = CaseBuilder::Index;

// Rank 2 where there is one sample, so that both ranks are seen.
Shape rows_of(std::int64_t B, std::int64_t S, std::int64_t width) {
  return B == 1 ? Shape{S, width} : Shape{B, S, width};
}

WeightRef bias_if(CaseBuilder& b, unsigned wanted, std::int64_t width) {
  return wanted ? b.bias(width) : WeightRef{};
}

WeightRef factor_if(CaseBuilder& b, unsigned wanted, std::int64_t width) {
  return wanted ? b.factor(width) : WeightRef{};
}

}  // namespace

void record(CaseBuilder& b, const shapes::Linear& s) {
  b.layout(s.layout);
  const Shape out = rows_of(s.B, s.S, s.N);
  ops::Linear op{.x = b.input(rows_of(s.B, s.S, s.K)),
                 .weight = b.matrix({s.N, s.K}),
                 .bias = bias_if(b, s.parts & kBias, s.N),
                 .act = s.act};
  if (s.parts & kGateRows) op.gate = b.table(s.N, Index::by_row, s.B, s.S);
  if (s.parts & kGate) {
    const Index one = s.B > 1 ? Index::by_sample : Index::none;
    op.gate = b.table(s.N, s.parts & kIteration ? Index::iteration : one, s.B, s.S);
  }
  if (s.parts & kInPlace) {
    op.residual = op.out = b.in_place(out);
  } else {
    if (s.parts & kResidual) op.residual = b.input(out);
    op.out = b.output(out);
  }
  b.trace().add(op);
}

void record(CaseBuilder& b, const shapes::GatedLinear& s) {
  b.layout(s.layout);
  b.trace().add(ops::GatedLinear{.x = b.input(rows_of(s.B, s.S, s.K)),
                                 .gate = b.matrix({s.N, s.K}),
                                 .gate_bias = bias_if(b, s.parts & kBias, s.N),
                                 .up = b.matrix({s.N, s.K}),
                                 .up_bias = bias_if(b, s.parts & kBias, s.N),
                                 .act = s.act,
                                 .out = b.output(rows_of(s.B, s.S, s.N))});
}

void record(CaseBuilder& b, const shapes::Conv2d& s) {
  const Shape out{s.B, (s.Y + s.top + s.bottom - s.kernel) / s.stride + 1,
                  (s.X + s.left + s.right - s.kernel) / s.stride + 1, s.O};
  ops::Conv2d op{.x = b.input({s.B, s.Y, s.X, s.C}),
                 .weight = b.matrix({s.O, s.kernel, s.kernel, s.C}),
                 .bias = bias_if(b, s.parts & kBias, s.O),
                 .stride = s.stride,
                 .pad = {s.top, s.left, s.bottom, s.right},
                 .act = s.act};
  if (s.parts & kResidual) op.residual = b.input(out);
  op.out = b.output(out);
  b.trace().add(op);
}

namespace {

std::vector<std::int32_t> visible(const shapes::Attention& s) {
  using Visible = shapes::Attention::Visible;
  const std::int64_t last = s.Sk2 > 0 ? s.Sk2 : s.Sk;
  std::vector<std::int32_t> seen;
  for (std::int64_t i = 0; i < s.S; ++i) {
    const std::int64_t causal = std::min(i + 1 + last - s.S, last);
    switch (s.visible) {
      case Visible::all:
        return {};
      case Visible::causal:
        seen.push_back(static_cast<std::int32_t>(causal));
        break;
      case Visible::first_row_less:
        seen.push_back(static_cast<std::int32_t>(i == 0 ? 1 : last));
        break;
      case Visible::none_at_first:
        seen.push_back(static_cast<std::int32_t>(i == 0 ? 0 : last));
        break;
    }
  }
  return seen;
}

ops::Attention::Keys keys(CaseBuilder& b, const shapes::Attention& s, int piece) {
  const std::int64_t width = piece == 0 ? s.Sk : s.Sk2;
  ops::Attention::Keys keys;
  if (width == 0) return keys;
  keys.k = b.input_heads({s.B, width, s.Hk, s.Dh});
  keys.v = b.input_heads({s.B, width, s.Hk, s.Dh});
  if (s.lengths[piece][0] >= 0) {
    keys.length =
        b.integers({s.B}, [&](std::int64_t i) { return s.lengths[piece][i > 0 ? 1 : 0]; });
  }
  if (s.parts & (piece == 0 ? kBias : kGate)) keys.bias = b.reals({s.B, width});
  return keys;
}

}  // namespace

void record(CaseBuilder& b, const shapes::Attention& s) {
  b.layout(s.layout);
  ops::Attention op;
  op.q = b.input_heads({s.B, s.S, s.H, s.Dh});
  op.keys = {keys(b, s, 0), keys(b, s, 1)};
  if (s.parts & kResidual) op.score_bias = b.reals({s.H, s.S, s.Sk});
  op.scale = 3.0f / std::sqrt(static_cast<float>(s.Dh));  // scores of about unit variance
  op.visible = visible(s);
  op.out = b.output_heads({s.B, s.S, s.H, s.Dh});
  b.trace().add(op);
}

void record(CaseBuilder& b, const shapes::QkvRope& s) {
  const std::int64_t heads = s.parts & kNoQ ? 0 : s.H, rows = (heads + 2 * s.Hk) * s.Dh;
  ops::QkvRope op{.x = b.input({s.B, s.S, s.K}),
                  .weight = b.matrix({rows, s.K}),
                  .bias = bias_if(b, s.parts & kBias, rows),
                  .norm_q = factor_if(b, s.parts & kNormQ, heads * s.Dh),
                  .norm_k = factor_if(b, s.parts & kNormK, s.Hk * s.Dh),
                  .style = s.style};
  if (!(s.parts & kNoRotation)) {
    op.cos = b.reals({s.S + 5, s.Dh / 2});
    op.sin = b.reals({s.S + 5, s.Dh / 2});
    op.positions = b.integers({s.S}, [&](std::int64_t i) { return (3 * i + 1) % (s.S + 5); });
  }
  b.layout(s.layout);
  if (heads > 0) op.q = b.output_heads({s.B, s.S, s.H, s.Dh});
  op.k = b.output_heads({s.B, s.S, s.Hk, s.Dh});
  op.v = b.output_heads({s.B, s.S, s.Hk, s.Dh});
  b.trace().add(op);
}

}  // namespace tendon::support
