#include "ops/arena.h"

#include <gtest/gtest.h>

#include "tendon/error.h"

namespace tendon {
namespace {

class ArenaTest : public testing::Test {
 protected:
  ArenaTest() {
    program_.traces.emplace_back("t", program_);
    in_ = trace().buffer(program_.add(BufferSpec{"in", DType::f32, {1, 64}}));
    out_ = trace().buffer(program_.add(BufferSpec{"out", DType::f32, {1, 64}}));
  }
  Trace& trace() { return program_.traces[0]; }
  Value made() { return trace().make(DType::f32, {1, 64}); }  // 256 bytes
  void add(Value a, Value b, Value out) { trace().add(ops::Add{a, b, out}); }
  std::size_t at(const ArenaPlan& plan, Value v) {
    return plan.offset[static_cast<std::size_t>(v.id)];
  }

  Program program_;
  Value in_, out_;
};

TEST_F(ArenaTest, ValuesThatFollowEachOtherShareMemory) {
  Value last = in_;
  std::vector<Value> chain;
  for (int i = 0; i < 6; ++i) {
    chain.push_back(made());
    add(last, in_, chain.back());
    last = chain.back();
  }
  add(last, in_, out_);
  const ArenaPlan plan = plan_arena(trace());
  EXPECT_EQ(plan.bytes, 2 * ArenaPlan::kAlignment);
  for (std::size_t i = 1; i < chain.size(); ++i)
    EXPECT_NE(at(plan, chain[i]), at(plan, chain[i - 1]));
}

TEST_F(ArenaTest, ValuesAliveTogetherLieApart) {
  const Value a = made(), b = made(), c = made();
  add(in_, in_, a);
  add(in_, in_, b);
  add(a, b, c);
  add(c, a, out_);
  const ArenaPlan plan = plan_arena(trace());
  EXPECT_EQ(plan.bytes, 3 * ArenaPlan::kAlignment);
  EXPECT_NE(at(plan, a), at(plan, b));
  EXPECT_NE(at(plan, a), at(plan, c));
  EXPECT_NE(at(plan, b), at(plan, c));
}

TEST_F(ArenaTest, AViewKeepsItsRootAlive) {
  const Value a = made(), b = made();
  add(in_, in_, a);
  const Value half = trace().columns(a, 32, 32);
  add(in_, in_, b);
  add(half, trace().columns(b, 0, 32), trace().columns(out_, 0, 32));
  const ArenaPlan plan = plan_arena(trace());
  EXPECT_NE(at(plan, a), at(plan, b));
}

TEST_F(ArenaTest, TappedValuesLiveToTheEnd) {
  program_.record_taps = true;
  const Value a = made(), b = made(), c = made();
  add(in_, in_, a);
  trace().tap("a", a);
  add(a, in_, b);
  add(b, in_, c);
  add(c, in_, out_);
  const ArenaPlan plan = plan_arena(trace());
  EXPECT_NE(at(plan, a), at(plan, c));
  EXPECT_EQ(plan.bytes, 3 * ArenaPlan::kAlignment);
}

TEST_F(ArenaTest, UnequalSizesFillTheGaps) {
  const Value big = trace().make(DType::f32, {4, 64}), small = made();
  trace().add(ops::Copy{trace().buffer(program_.add(BufferSpec{"x", DType::f32, {4, 64}})), big});
  trace().add(ops::Copy{trace().rows(big, 0, 1), out_});
  add(in_, in_, small);
  add(small, in_, out_);
  const ArenaPlan plan = plan_arena(trace());
  EXPECT_EQ(plan.bytes, 4 * ArenaPlan::kAlignment);
  EXPECT_EQ(at(plan, small), at(plan, big));
}

TEST_F(ArenaTest, NoTwoValuesAliveTogetherOverlapInARandomTrace) {
  std::uint32_t state = 7;
  const auto random = [&](std::uint32_t below) {
    state = state * 1664525u + 1013904223u;
    return (state >> 16) % below;
  };
  std::vector<Value> values{in_};
  std::vector<std::size_t> first{0}, last{0};
  for (std::size_t op = 0; op < 200; ++op) {
    const std::size_t pick =
        values.size() - 1 -
        random(std::min<std::uint32_t>(9, static_cast<std::uint32_t>(values.size())));
    const Value from = values[pick];
    const Value to = trace().make(DType::f32, {1, 1 + random(300)});
    trace().add(
        ops::Linear{.x = from,
                    .weight = program_.add(Weight{
                        .name = "w", .shape = {trace().shape(to)[1], trace().shape(from)[1]}}),
                    .out = to});
    last[pick] = op;
    values.push_back(to);
    first.push_back(op);
    last.push_back(op);
  }
  const ArenaPlan plan = plan_arena(trace());
  for (std::size_t i = 1; i < values.size(); ++i) {
    const std::size_t end =
        at(plan, values[i]) + 4 * static_cast<std::size_t>(trace().shape(values[i])[1]);
    EXPECT_EQ(at(plan, values[i]) % ArenaPlan::kAlignment, 0u);
    EXPECT_LE(end, plan.bytes);
    for (std::size_t j = i + 1; j < values.size(); ++j) {
      if (first[j] > last[i]) continue;
      const std::size_t other =
          at(plan, values[j]) + 4 * static_cast<std::size_t>(trace().shape(values[j])[1]);
      EXPECT_TRUE(end <= at(plan, values[j]) || other <= at(plan, values[i])) << i << " and " << j;
    }
  }
}

TEST_F(ArenaTest, ReadingWhatNothingWroteIsRefused) {
  add(made(), in_, out_);
  EXPECT_THROW(plan_arena(trace()), Error);
}

}  // namespace
}  // namespace tendon
