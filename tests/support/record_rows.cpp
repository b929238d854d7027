// The ops that go by rows, elements or pixels.
#include "support/record_case.h"

namespace tendon::support {
namespace {

using namespace shapes;
using Index = CaseBuilder::Index;

struct Modulation {
  RowTable scale, shift;
};

Modulation modulation(CaseBuilder& b, const Norm& s) {
  Index index = s.B > 1 ? Index::by_sample : Index::none;
  if (s.parts & kShiftRows) index = Index::by_row;
  if (s.parts & kIteration) index = Index::iteration;
  Modulation m;
  if (s.parts & kScale) m.scale = b.table(s.D, index, s.B, s.S);
  if (s.parts & (kShift | kShiftRows)) m.shift = b.table(s.D, index, s.B, s.S);
  return m;
}

// Numbers below `rows` in no order; some negative where there are gaps.
enum class Gaps : std::uint8_t { none, some };
auto scattered(std::int64_t rows, Gaps gaps = Gaps::none) {
  return [rows, gaps](std::int64_t i) -> std::int64_t {
    return gaps == Gaps::some && i % 3 == 1 ? -1 : (i * 7 + 3) % rows;
  };
}

Shape shape_of(const Plane& s) { return {s.B, s.S, s.D}; }

}  // namespace

void record_rms_norm(CaseBuilder& b, const Norm& s) {
  b.layout(s.layout);
  const Modulation m = modulation(b, s);
  ops::RmsNorm op{.x = b.input({s.B, s.S, s.D}), .weight_offset = s.offset, .eps = s.eps};
  if (s.parts & kWeight) op.weight = s.offset == 0 ? b.factor(s.D) : b.bias(s.D);
  op.scale = m.scale;
  op.shift = m.shift;
  op.out = b.output({s.B, s.S, s.D});
  b.trace().add(op);
}

void record_layer_norm(CaseBuilder& b, const Norm& s) {
  b.layout(s.layout);
  const Modulation m = modulation(b, s);
  ops::LayerNorm op{.x = b.input({s.B, s.S, s.D}), .eps = s.eps};
  if (s.parts & kWeight) op.weight = b.factor(s.D);
  if (s.parts & kBias) op.bias = b.bias(s.D);
  op.scale = m.scale;
  op.shift = m.shift;
  op.out = b.output({s.B, s.S, s.D});
  b.trace().add(op);
}

void record(CaseBuilder& b, const shapes::Rope& s) {
  b.layout(s.layout);
  const bool shared = s.positions == shapes::Rope::Positions::shared;
  const std::int64_t table = s.S + 5;
  const Shape positions = shared ? Shape{s.S} : Shape{s.B, s.S};
  b.trace().add(ops::Rope{.x = b.input_heads({s.B, s.S, s.H, s.Dh}),
                          .cos = b.reals({table, s.Dh / 2}),
                          .sin = b.reals({table, s.Dh / 2}),
                          .positions = b.integers(positions, scattered(table)),
                          .style = s.style,
                          .out = b.output_heads({s.B, s.S, s.H, s.Dh})});
}

namespace {

void embed(CaseBuilder& b, const Plane& s, DType raw) {
  b.layout(s.layout);
  constexpr std::int64_t kVocabulary = 37;
  b.trace().add(ops::Embed{.ids = b.integers({s.B, s.S}, scattered(kVocabulary)),
                           .table = b.embedding({kVocabulary, s.D}, raw),
                           .scale = 45.254834f,
                           .out = b.output(shape_of(s))});
}

}  // namespace

void record_embed(CaseBuilder& b, const Plane& s) { embed(b, s, DType::f64); }

void record_embed_in_place(CaseBuilder& b, const Plane& s) {
  embed(b, s, b.dtypes().weights == Format::bf16 ? DType::bf16 : DType::f32);
}

void record_activation(CaseBuilder& b, const Plane& s) {
  b.layout(s.layout);
  b.trace().add(ops::Activation{b.input(shape_of(s)), s.act, b.output(shape_of(s))});
}

void record_gated_act(CaseBuilder& b, const Plane& s) {
  b.layout(s.layout);
  const Value gate = b.input(shape_of(s)), up = b.input(shape_of(s));
  b.trace().add(ops::GatedAct{gate, up, s.act, b.output(shape_of(s))});
}

void record_add(CaseBuilder& b, const Plane& s) {
  b.layout(s.layout);
  const Value a = b.input(shape_of(s)), c = b.input(shape_of(s));
  b.trace().add(ops::Add{a, c, b.output(shape_of(s))});
}

void record_add_row(CaseBuilder& b, const Plane& s) {
  b.layout(s.layout);
  const Value a = b.in_place(shape_of(s)), row = b.input({1, s.S, s.D});
  b.trace().add(ops::Add{a, row, a});
}

void record_mul(CaseBuilder& b, const Plane& s) {
  b.layout(s.layout);
  const Value a = b.input(shape_of(s)), row = b.input({s.B, 1, s.D});
  b.trace().add(ops::Mul{a, row, b.output(shape_of(s))});
}

void record_mul_column(CaseBuilder& b, const Plane& s) {
  b.layout(s.layout);
  const Value a = b.input(shape_of(s));
  b.layout(Layout::dense);
  const Value column = b.input({1, s.S, 1});
  b.layout(s.layout);
  b.trace().add(ops::Mul{a, column, b.output(shape_of(s))});
}

void record_axpy(CaseBuilder& b, const Plane& s) {
  b.layout(s.layout);
  const Value x = b.in_place(shape_of(s)), v = b.input(shape_of(s));
  b.trace().add(ops::Axpy{.x = x, .v = v, .factor = -0.1f, .out = x});
}

void record_axpy_table(CaseBuilder& b, const Plane& s) {
  b.layout(s.layout);
  const Value x = b.input(shape_of(s)), v = b.input(shape_of(s));
  const Index index = s.B > 1 ? Index::by_row : Index::iteration;
  const RowTable scale = b.table(1, index, s.B, s.S);
  b.trace().add(
      ops::Axpy{.x = x, .v = v, .scale = scale, .factor = 0.5f, .out = b.output(shape_of(s))});
}

void record_select(CaseBuilder& b, const Plane& s) {
  b.layout(s.layout);
  const Value yes = b.input(shape_of(s)), no = b.input(shape_of(s));
  b.trace().add(ops::Select{b.integers({s.B * s.S}, scattered(2)), yes, no, b.output(shape_of(s))});
}

void record_select_in_place(CaseBuilder& b, const Plane& s) {
  b.layout(s.layout);
  const Value yes = b.input(shape_of(s)), no = b.in_place(shape_of(s));
  b.trace().add(ops::Select{b.integers({s.B * s.S}, scattered(2)), yes, no, no});
}

void record_gather_rows(CaseBuilder& b, const Plane& s) {
  b.layout(s.layout);
  const std::int64_t rows = s.B * s.S + 3;
  const Value x = b.input(shape_of(s));
  const Value index = b.integers({rows}, scattered(s.B * s.S, Gaps::some));
  b.trace().add(ops::GatherRows{x, index, b.output({1, rows, s.D})});
}

void record_gather_integers(CaseBuilder& b, const Plane& s) {
  const std::int64_t rows = s.B * s.S;
  const Value x = b.integers({rows, s.D}, scattered(1000));
  const Value index = b.integers({rows}, scattered(rows, Gaps::some));
  b.trace().add(ops::GatherRows{x, index, b.integers_out({rows, s.D})});
}

void record_copy(CaseBuilder& b, const Plane& s) {
  b.layout(s.layout);
  const Value x = b.input(shape_of(s));
  b.layout(s.layout == Layout::slab ? Layout::dense : Layout::slab);
  b.trace().add(ops::Copy{x, b.output(shape_of(s))});
}

void record_copy_integers(CaseBuilder& b, const Plane& s) {
  const Value x = b.integers(shape_of(s), scattered(1000, Gaps::some));
  b.trace().add(ops::Copy{x, b.integers_out(shape_of(s))});
}

void record_space_to_depth(CaseBuilder& b, const Picture& s) {
  const Value x = b.input({s.B, s.Y, s.X, s.C});
  b.trace().add(ops::SpaceToDepth{x, 2, false, b.output({s.B, s.Y / 2, s.X / 2, 4 * s.C})});
}

void record_space_to_depth_channel_major(CaseBuilder& b, const Picture& s) {
  const Value x = b.input({s.B, s.Y, s.X, s.C});
  b.trace().add(ops::SpaceToDepth{x, 2, true, b.output({s.B, s.Y / 2, s.X / 2, 4 * s.C})});
}

namespace {

void average_pool(CaseBuilder& b, const Picture& s, Value residual) {
  b.trace().add(ops::AveragePool{.x = b.input({s.B, s.Y, s.X, s.C}),
                                 .channel_step = s.step,
                                 .channel_offset = s.offset,
                                 .residual = residual,
                                 .out = b.output({s.B, s.Y / 2, s.X / 2, s.O > 0 ? s.O : s.C})});
}

}  // namespace

void record_average_pool(CaseBuilder& b, const Picture& s) { average_pool(b, s, {}); }

void record_average_pool_residual(CaseBuilder& b, const Picture& s) {
  average_pool(b, s, b.input({s.B, s.Y / 2, s.X / 2, s.O > 0 ? s.O : s.C}));
}

}  // namespace tendon::support
