// A sample of an op must be what the whole op gives at those places.
#include "backends/reference/sample.h"

#include <gtest/gtest.h>

namespace tendon {
namespace {

std::vector<float> noise(std::int64_t count, std::uint32_t seed) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    values.push_back(static_cast<float>(seed >> 8) * 0x1p-23f - 1.0f);
  }
  return values;
}

class SampleTest : public testing::Test {
 protected:
  SampleTest() { program_->traces.emplace_back("t", *program_); }

  Trace& trace() { return program_->traces[0]; }
  Value reals(const Shape& shape) {
    const std::uint32_t seed = static_cast<std::uint32_t>(program_->buffers.size());
    return trace().buffer(program_->constant("x", DType::f32, shape, noise(shape.numel(), seed)));
  }
  Value integers(const std::vector<std::int32_t>& values) {
    const Shape shape{static_cast<std::int64_t>(values.size())};
    return trace().buffer(program_->constant("i", DType::i32, shape, values));
  }
  Value result(const Shape& shape, DType dtype = DType::bf16) {
    return trace().buffer(program_->add(BufferSpec{"out", dtype, shape}));
  }
  WeightRef weight(const Shape& shape) {
    const std::int64_t width = shape.numel() / shape[0];
    const std::uint32_t seed = 77u + static_cast<std::uint32_t>(program_->weights.size());
    std::vector<float> values = noise(shape.numel(), seed);
    return program_->add(
        Weight{.name = "w",
               .shape = shape,
               .read = [values, width](std::int64_t first, std::int64_t count, float* out) {
                 std::copy_n(values.begin() + first * width, count * width, out);
               }});
  }

  // Runs the one op and compares all samples with it; `places` of them are wanted.
  void compare(double whole_below_flops, std::int64_t count, std::size_t rows_wanted) {
    const std::unique_ptr<Executable> whole = make_reference()->compile(std::move(program_), {});
    const Trace& t = whole->program().traces[0];
    SampleRequest request{.trace = t,
                          .operand = [&](Value v) { return whole->fetch(0, v); },
                          .whole_below_flops = whole_below_flops,
                          .count = count};
    const std::vector<Sample> samples = evaluate_sample(request);
    ASSERT_TRUE(whole->run(0).ok());
    ASSERT_EQ(samples.size(), operands(t.ops()[0]).outputs.size());
    for (const Sample& sample : samples) {
      EXPECT_EQ(sample.rows.size() % rows_wanted, 0u);
      const std::vector<float> all = whole->fetch(0, sample.output);
      const std::size_t width = static_cast<std::size_t>(t.shape(sample.output)[-1]);
      ASSERT_EQ(sample.expected.size(), sample.rows.size() * width);
      for (std::size_t r = 0; r < sample.rows.size(); ++r) {
        for (std::size_t i = 0; i < width; ++i) {
          ASSERT_EQ(sample.expected[r * width + i],
                    all[static_cast<std::size_t>(sample.rows[r]) * width + i])
              << "row " << sample.rows[r] << " element " << i;
        }
      }
    }
  }

  std::unique_ptr<Program> program_ = std::make_unique<Program>();
};

TEST_F(SampleTest, LinearWithGateOfEachSampleInPlace) {
  const Value out = reals({3, 8, 10});
  trace().add(ops::Linear{.x = reals({3, 8, 12}),
                          .weight = weight({10, 12}),
                          .bias = weight({10}),
                          .act = Act::silu,
                          .gate = {reals({4, 13}), integers({3, 1, 0}), 2},
                          .residual = out,
                          .out = out});
  compare(0, 7, 7);
}

TEST_F(SampleTest, GatedLinear) {
  trace().add(ops::GatedLinear{.x = reals({16, 12}),
                               .gate = weight({10, 12}),
                               .up = weight({10, 12}),
                               .out = result({16, 10})});
  compare(0, 5, 5);
}

TEST_F(SampleTest, QkvRopeGivesAllHeadsOfAToken) {
  trace().add(ops::QkvRope{.x = reals({2, 6, 12}),
                           .weight = weight({32, 12}),
                           .norm_q = weight({16}),
                           .cos = reals({9, 2}),
                           .sin = reals({9, 2}),
                           .positions = integers({8, 1, 2, 3, 4, 0}),
                           .q = result({2, 6, 4, 4}),
                           .k = result({2, 6, 2, 4}),
                           .v = result({2, 6, 2, 4})});
  compare(0, 5, 5);
}

TEST_F(SampleTest, AttentionPairs) {
  ops::Attention op{.q = reals({2, 5, 4, 8}), .scale = 0.5f};
  op.keys[0] = {reals({2, 7, 2, 8}), reals({2, 7, 2, 8}), integers({4, 7}), reals({2, 7})};
  op.keys[1] = {reals({2, 5, 2, 8}), reals({2, 5, 2, 8}), Value{}, reals({2, 5})};
  op.score_bias = reals({4, 5, 7});
  op.visible = {0, 1, 3, 4, 5};
  op.out = result({2, 5, 4, 8});
  trace().add(op);
  compare(0, 19, 19);
}

TEST_F(SampleTest, Conv2dPixels) {
  trace().add(ops::Conv2d{.x = reals({2, 7, 6, 3}),
                          .weight = weight({5, 3, 2, 3}),
                          .bias = weight({5}),
                          .stride = 2,
                          .pad = {1, 0, 2, 1},
                          .act = Act::silu,
                          .residual = reals({2, 4, 3, 5}),
                          .out = result({2, 4, 3, 5})});
  compare(0, 11, 11);
}

TEST_F(SampleTest, SmallOpsAreEvaluatedWhole) {
  trace().add(ops::GatedLinear{.x = reals({16, 12}),
                               .gate = weight({10, 12}),
                               .up = weight({10, 12}),
                               .out = result({16, 10})});
  compare(1e9, 5, 16);
}

TEST_F(SampleTest, OtherOpsAreEvaluatedWholeFromViews) {
  const Value wide = reals({4, 20});
  const Value middle = trace().columns(wide, 5, 10);
  trace().add(ops::Add{middle, reals({1, 10}), trace().columns(result({4, 12}), 1, 10)});
  compare(0, 2, 4);
}

TEST_F(SampleTest, WrongOperandsAreRefused) {
  trace().add(ops::Activation{reals({2, 3}), Act::silu, result({2, 3})});
  EXPECT_THROW(
      evaluate_sample({.trace = trace(), .operand = [](Value) { return std::vector<float>(5); }}),
      Error);
}

}  // namespace
}  // namespace tendon
