// The oracle itself against values worked out by hand or published.
#include "backends/reference/reference.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

namespace tendon {
namespace {

class ReferenceTest : public testing::TestWithParam<Accumulate> {
 protected:
  ReferenceTest() { program_->traces.emplace_back("t", *program_); }

  Trace& trace() { return program_->traces[0]; }
  Value reals(const Shape& shape, const std::vector<float>& values) {
    return trace().buffer(program_->constant("x", DType::f32, shape, values));
  }
  Value integers(const Shape& shape, const std::vector<std::int32_t>& values) {
    return trace().buffer(program_->constant("i", DType::i32, shape, values));
  }
  Value result(const Shape& shape, DType dtype = DType::f32) {
    return trace().buffer(program_->add(BufferSpec{"out", dtype, shape}));
  }
  WeightRef weight(const Shape& shape, std::vector<float> values, Format format = Format::f32) {
    const std::int64_t width = shape.numel() / shape[0];
    return program_->add(Weight{.name = "w",
                                .shape = shape,
                                .format = format,
                                .read = [values = std::move(values), width](
                                            std::int64_t first, std::int64_t n, float* out) {
                                  std::copy_n(values.begin() + first * width, n * width, out);
                                }});
  }
  void compile() {
    executable_ = make_reference({.accumulate = GetParam()})->compile(std::move(program_), {});
  }
  std::vector<float> run(Value out) {
    if (!executable_) compile();
    const Status status = executable_->run(0);
    EXPECT_TRUE(status.ok()) << status.message();
    return executable_->fetch(0, out);
  }
  static void near(const std::vector<float>& is, const std::vector<float>& wanted,
                   float by = 1e-6f) {
    ASSERT_EQ(is.size(), wanted.size());
    for (std::size_t i = 0; i < is.size(); ++i)
      EXPECT_NEAR(is[i], wanted[i], by) << "element " << i;
  }

  std::unique_ptr<Program> program_ = std::make_unique<Program>();
  std::unique_ptr<Executable> executable_;
};

TEST_P(ReferenceTest, ActivationsAsPublished) {
  const Value x = reals({5}, {-1, 0.5f, 3, 1, -1});
  const Value tanh = result({5}), silu = result({5}), erf = result({5});
  trace().add(ops::Activation{x, Act::gelu_tanh, tanh});
  trace().add(ops::Activation{x, Act::silu, silu});
  trace().add(ops::Activation{x, Act::gelu_erf, erf});
  const std::vector<float> t = run(tanh);
  near({t[0], t[1], t[2]}, {-0.15880801f, 0.34571401f, 2.99636261f}, 2e-7f);
  near({run(silu)[3], run(silu)[4]}, {0.73105858f, -0.26894142f}, 1e-7f);
  near({run(erf)[3], run(erf)[4]}, {0.84134475f, -0.15865525f}, 1e-7f);
}

TEST_P(ReferenceTest, LinearAppliesBiasActGateResidualInThatOrder) {
  const Value x = reals({2, 2}, {1, 2, 3, 4});
  const Value table = reals({2, 5}, {9, 9, 10, 20, 30, 9, 9, 2, 3, 4});
  const Value rows = integers({2}, {1, 0});
  const Value residual = reals({2, 3}, {1, 1, 1, 2, 2, 2});
  const Value out = result({2, 3});
  trace().add(ops::Linear{.x = x,
                          .weight = weight({3, 2}, {1, 0, 0, 1, -100, 0}),
                          .bias = weight({3}, {0.5f, -1, 0}),
                          .act = Act::silu,
                          .gate = {table, rows, 2},
                          .residual = residual,
                          .out = out});
  const auto silu = [](double v) { return static_cast<float>(v / (1 + std::exp(-v))); };
  near(run(out), {1 + 2 * silu(1.5), 1 + 3 * silu(1), 1, 2 + 10 * silu(3.5), 2 + 20 * silu(3), 2},
       1e-5f);
}

TEST_P(ReferenceTest, WeightsAreRoundedToTheirFormat) {
  const float third = 1.0f / 3;  // 0.333984375 in bf16
  const Value x = reals({1, 1}, {1});
  const Value wide = result({1, 1}), narrow = result({1, 1}), rounded = result({1, 1}, DType::bf16);
  trace().add(ops::Linear{.x = x, .weight = weight({1, 1}, {third}), .out = wide});
  trace().add(ops::Linear{.x = x, .weight = weight({1, 1}, {third}, Format::bf16), .out = narrow});
  trace().add(ops::Linear{.x = x, .weight = weight({1, 1}, {third}), .out = rounded});
  EXPECT_EQ(run(wide)[0], third);
  EXPECT_EQ(run(narrow)[0], 0.333984375f);
  EXPECT_EQ(run(rounded)[0], 0.333984375f);
}

TEST_P(ReferenceTest, RopePairsByStyle) {
  const Value x = reals({1, 2, 1, 4}, {1, 2, 3, 4, 1, 2, 3, 4});
  const Value cos = reals({2, 2}, {1, 1, 0, 1}), sin = reals({2, 2}, {0, 0, 1, 0});
  const Value positions = integers({2}, {1, 0});
  const Value split = result({1, 2, 1, 4}), inter = result({1, 2, 1, 4});
  trace().add(ops::Rope{x, cos, sin, positions, ops::RopeStyle::split_half, split});
  trace().add(ops::Rope{x, cos, sin, positions, ops::RopeStyle::interleaved, inter});
  near(run(split), {-3, 2, 1, 4, 1, 2, 3, 4});
  near(run(inter), {-2, 1, 3, 4, 1, 2, 3, 4});
}

TEST_P(ReferenceTest, AttentionMasksByLengthVisibleAndPiece) {
  const Value q = reals({1, 3, 1, 1}, {1, 1, 1});
  const float log2 = std::log(2.0f), log3 = std::log(3.0f);
  ops::Attention op{.q = q};
  op.keys[0] = {reals({1, 3, 1, 1}, {0, log2, 50}), reals({1, 3, 1, 1}, {1, 2, 99}),
                integers({1}, {2}), Value{}};
  op.keys[1] = {reals({1, 2, 1, 1}, {0, 0}), reals({1, 2, 1, 1}, {10, 20}), Value{},
                reals({1, 2}, {log3, 0})};
  op.visible = {0, 1, 2};
  op.out = result({1, 3, 1, 1});
  trace().add(op);
  // Weights 1, 2 | 3, 1 and values 1, 2 | 10, 20.
  near(run(op.out), {5.0f / 3, 35.0f / 6, 55.0f / 7}, 4e-6f);
}

TEST_P(ReferenceTest, AttentionScoresAreScaledBeforeTheirBiases) {
  ops::Attention op{.q = reals({1, 1, 2, 1}, {2, -2}), .scale = 0.5f};
  op.keys[0] = {reals({1, 2, 1, 1}, {0, std::log(4.0f)}), reals({1, 2, 1, 1}, {0, 1}), Value{},
                Value{}};
  op.score_bias = reals({2, 1, 2}, {0, 0, 0, std::log(4.0f)});
  op.out = result({1, 1, 2, 1});
  trace().add(op);
  near(run(op.out), {0.8f, 0.5f});
}

TEST_P(ReferenceTest, AttentionWithoutAnyKeyGivesZero) {
  ops::Attention op{.q = reals({2, 1, 1, 2}, {1, 2, 3, 4})};
  const Value k = reals({2, 1, 1, 2}, {1, 1, 1, 1});
  op.keys[0] = {k, k, integers({2}, {0, 1}), Value{}};
  op.out = result({2, 1, 1, 2});
  trace().add(op);
  near(run(op.out), {0, 0, 1, 1});
}

TEST_P(ReferenceTest, NormsAndTheirModulation) {
  const Value x = reals({1, 2}, {3, 5});
  const Value table = reals({1, 4}, {1, 0, 10, 20});
  const Value rms = result({1, 2}), layer = result({1, 2});
  trace().add(ops::RmsNorm{.x = x,
                           .weight = weight({2}, {0, 1}),
                           .weight_offset = 1,
                           .eps = 0,
                           .scale = {table, Value{}, 0},
                           .shift = {table, Value{}, 2},
                           .out = rms});
  trace().add(ops::LayerNorm{.x = x,
                             .weight = weight({2}, {1, 2}),
                             .bias = weight({2}, {7, 8}),
                             .eps = 3,
                             .scale = {table, Value{}, 0},
                             .out = layer});
  const float root = std::sqrt(17.0f);
  near(run(rms), {10 + 2 * 3 / root, 20 + 2 * 5 / root}, 4e-6f);
  near(run(layer), {2 * (7 - 0.5f), 8 + 2 * 0.5f});
}

TEST_P(ReferenceTest, Conv2dPadsWithZeros) {
  const Value x = reals({1, 2, 2, 1}, {1, 2, 3, 4});
  const Value out = result({1, 1, 2, 1});
  trace().add(ops::Conv2d{.x = x,
                          .weight = weight({1, 2, 2, 1}, {1, 10, 100, 1000}),
                          .bias = weight({1}, {0.5f}),
                          .stride = 2,
                          .pad = {1, 1, 0, 1},
                          .out = out});
  // Patches (0 0 | 0 1) and (0 0 | 2 0).
  near(run(out), {1000.5f, 200.5f});
}

TEST_P(ReferenceTest, MovesPutElementsWhereTheyBelong) {
  const Value x = reals({1, 2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8});
  const Value depth = result({1, 1, 1, 8}), major = result({1, 1, 1, 8});
  const Value gathered = result({3, 4}), chosen = result({2, 4}), pooled = result({1, 1, 1, 5});
  const Value flat = trace().reshape(x, {2, 4});
  trace().add(ops::SpaceToDepth{x, 2, false, depth});
  trace().add(ops::SpaceToDepth{x, 2, true, major});
  trace().add(ops::GatherRows{flat, integers({3}, {1, -1, 0}), gathered});
  trace().add(
      ops::Select{integers({2}, {0, 7}), flat, reals({2, 4}, std::vector<float>(8, 9)), chosen});
  trace().add(ops::AveragePool{.x = x,
                               .channel_step = 3,
                               .channel_offset = 1,
                               .residual = reals({1, 1, 1, 5}, {1, 1, 1, 1, 1}),
                               .out = pooled});
  near(run(depth), {1, 2, 3, 4, 5, 6, 7, 8});
  near(run(major), {1, 5, 3, 7, 2, 6, 4, 8});
  near(run(gathered), {5, 6, 7, 8, 0, 0, 0, 0, 1, 2, 3, 4});
  near(run(chosen), {9, 9, 9, 9, 5, 6, 7, 8});
  near(run(pooled), {1, 5, 1, 1, 6});
}

TEST_P(ReferenceTest, ElementwiseBroadcastsAndEulerSteps) {
  const Value a = reals({2, 2}, {1, 2, 3, 4});
  const Value sum = result({2, 2}), product = result({2, 2}), gated = result({2, 2});
  const Value axpy = result({2, 2});
  trace().add(ops::Add{a, reals({1, 2}, {10, 20}), sum});
  trace().add(ops::Mul{a, reals({2, 1}, {10, 20}), product});
  trace().add(ops::GatedAct{a, a, Act::none, gated});
  trace().add(ops::Axpy{a, a, {reals({3, 1}, {1, 2, 3}), integers({2}, {2, 0}), 0}, -0.5f, axpy});
  near(run(sum), {11, 22, 13, 24});
  near(run(product), {10, 20, 60, 80});
  near(run(gated), {1, 4, 9, 16});
  near(run(axpy), {-0.5f, -1, 1.5f, 2});
}

TEST_P(ReferenceTest, EmbedScalesRows) {
  const Value out = result({2, 2});
  trace().add(ops::Embed{integers({2}, {2, 0}), weight({3, 2}, {1, 2, 3, 4, 5, 6}), 2, out});
  near(run(out), {10, 12, 2, 4});
}

TEST_P(ReferenceTest, IterationSelectsTheTableRow) {
  const Value table = reals({3, 2}, {1, 2, 3, 4, 5, 6});
  const Value sum = result({1, 2});
  trace().add(ops::Add{sum,
                       [&] {
                         const Value row = trace().make(DType::f32, {1, 2});
                         trace().add(ops::GatherRows{table, trace().iteration(), row});
                         return row;
                       }(),
                       sum});
  compile();
  ASSERT_TRUE(executable_->run(0, 1, 2).ok());
  near(executable_->fetch(0, sum), {8, 10});
}

// The definition of QkvRope written out once more, for one token and interleaved pairs.
TEST_P(ReferenceTest, QkvRopeIsItsDefinition) {
  const std::vector<float> x{1, -2}, rows{1, 0, 0, 1, 2, 1, 1, 2, -1, 1, 3, 0, 1, 1, 0.5f, 0};
  const float c = 0.6f, s = 0.8f;
  ops::QkvRope op{.x = reals({1, 1, 2}, x),
                  .weight = weight({8, 2}, rows),
                  .bias = weight({8}, {0, 0, 0, 0, 0, 0, 1, 1}),
                  .norm_q = weight({4}, {1, 2, 1, 2}),
                  .eps = 0,
                  .cos = reals({1, 1}, {c}),
                  .sin = reals({1, 1}, {s}),
                  .positions = integers({1}, {0}),
                  .style = ops::RopeStyle::interleaved,
                  .q = result({1, 1, 2, 2}),
                  .k = result({1, 1, 1, 2}),
                  .v = result({1, 1, 1, 2})};
  trace().add(op);
  // q = 1 -2 0 -3, mean square 3.5; k = -3 3; v = -1 0.5 and the bias.
  const float n = 1 / std::sqrt(3.5f), q[4] = {1 * n, -4 * n, 0, -6 * n};
  near(run(op.q),
       {q[0] * c - q[1] * s, q[1] * c + q[0] * s, q[2] * c - q[3] * s, q[3] * c + q[2] * s});
  near(run(op.k), {-3 * c - 3 * s, 3 * c - 3 * s});
  near(run(op.v), {0, 1.5f});
}

TEST_P(ReferenceTest, GatedLinearIsItsDefinition) {
  const Value out = result({1, 1});
  trace().add(ops::GatedLinear{.x = reals({1, 2}, {1, 2}),
                               .gate = weight({1, 2}, {1, 1}),
                               .gate_bias = weight({1}, {-2}),
                               .up = weight({1, 2}, {3, 1}),
                               .up_bias = weight({1}, {2}),
                               .out = out});
  near(run(out), {0.73105858f * 7}, 2e-6f);
}

TEST_P(ReferenceTest, OutOfRangeIsRefusedWithASentence) {
  const Value out = result({1, 2});
  trace().add(ops::Embed{integers({1}, {3}), weight({3, 2}, {1, 2, 3, 4, 5, 6}), 1, out}, "tokens");
  compile();
  const Status status = executable_->run(0);
  EXPECT_EQ(status.message(), "t: tokens: embed: id 3 of 3 in w");
  EXPECT_FALSE(executable_->write({0}, std::vector<std::byte>(9)).ok());
  EXPECT_FALSE(executable_->run(1).ok());
}

TEST_P(ReferenceTest, OnlyTappedIntermediatesAreFetched) {
  program_->record_taps = true;
  const Value x = reals({1, 2}, {1, 2});
  const Value kept = trace().make(DType::f32, {1, 2}), lost = trace().make(DType::f32, {1, 2});
  trace().add(ops::Add{x, x, kept});
  trace().tap("kept", kept);
  trace().add(ops::Add{kept, x, lost});
  trace().add(ops::Add{lost, x, result({1, 2})});
  near(run(kept), {2, 4});
  EXPECT_THROW(executable_->fetch(0, lost), Error);
}

INSTANTIATE_TEST_SUITE_P(Accumulation, ReferenceTest,
                         testing::Values(Accumulate::f32, Accumulate::f64), [](const auto& info) {
                           return info.param == Accumulate::f32 ? "f32" : "f64";
                         });

}  // namespace
}  // namespace tendon
