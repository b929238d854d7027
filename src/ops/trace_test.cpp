#include "ops/trace.h"

#include <gtest/gtest.h>

#include "tendon/error.h"

namespace tendon {
namespace {

class TraceTest : public testing::Test {
 protected:
  TraceTest() { program_.traces.emplace_back("t", program_); }
  Trace& trace() { return program_.traces[0]; }
  Value made(const Shape& shape, DType dtype = DType::f32) { return trace().make(dtype, shape); }
  WeightRef weight(const Shape& shape) { return program_.add(Weight{.name = "w", .shape = shape}); }
  const ValueInfo& info(Value v) { return trace().info(v); }
  // The sentence with which the op is refused; empty where it is not.
  std::string refusal(Op op) {
    try {
      trace().add(std::move(op), "here");
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }

  Program program_;
};

TEST_F(TraceTest, ColumnsAndHeadsAreViewsOfOneRoot) {
  const Value all = made({2, 5, 24});
  const Value some = trace().columns(all, 8, 12);
  const Value heads = trace().split_last(some, 3);
  EXPECT_EQ(info(heads).shape, Shape({2, 5, 3, 4}));
  EXPECT_EQ(info(heads).offset, 8);
  EXPECT_EQ(info(heads).root, all.id);
  EXPECT_EQ(info(heads).strides[1], 24);
  EXPECT_EQ(info(heads).strides[2], 4);
  const Value merged = trace().merge_last(heads);
  EXPECT_EQ(info(merged).shape, info(some).shape);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(info(merged).strides[i], info(some).strides[i]);
}

TEST_F(TraceTest, SlicesOfAnyDimension) {
  const Value all = made({4, 5, 6});
  EXPECT_EQ(info(trace().slice(all, 0, 1, 2)).offset, 30);
  EXPECT_EQ(info(trace().rows(all, 2, 3)).offset, 12);
  EXPECT_EQ(info(trace().rows(all, 2, 3)).shape, Shape({4, 3, 6}));
  EXPECT_THROW(trace().slice(all, 1, 4, 2), Error);
  EXPECT_THROW(trace().slice(all, 3, 0, 1), Error);
  EXPECT_THROW(trace().columns(all, -1, 2), Error);
}

TEST_F(TraceTest, OnlyDenseValuesAreReshaped) {
  const Value all = made({4, 6});
  EXPECT_EQ(info(trace().reshape(all, {2, 12})).strides[0], 12);
  EXPECT_THROW(trace().reshape(trace().columns(all, 0, 3), {12}), Error);
  EXPECT_THROW(trace().reshape(all, {5, 5}), Error);
}

TEST_F(TraceTest, RowsMergeWhereStridesAllow) {
  const Value all = made({3, 4, 5, 6});
  Rows rows = as_rows(info(all));
  EXPECT_EQ(rows.count(), 60);
  EXPECT_EQ(rows.batches, 1);
  rows = as_rows(info(trace().slice(all, 1, 0, 2)));
  EXPECT_EQ(rows.batches, 3);
  EXPECT_EQ(rows.rows, 10);
  EXPECT_EQ(rows.batch_stride, 120);
  const Value apart = trace().slice(trace().slice(all, 1, 0, 2), 2, 0, 3);
  EXPECT_THROW(as_rows(info(apart)), Error);
}

TEST_F(TraceTest, ABufferHasOneRootPerTrace) {
  const BufferRef buffer = program_.add(BufferSpec{"b", DType::bf16, {4, 6}});
  const Value whole = trace().buffer(buffer), part = trace().buffer(buffer, {2, 3});
  EXPECT_EQ(whole, trace().buffer(buffer));
  EXPECT_EQ(info(part).root, whole.id);
  EXPECT_EQ(info(part).dtype, DType::bf16);
  EXPECT_THROW(trace().buffer(buffer, {5, 5}), Error);
}

TEST_F(TraceTest, OpsThatDoNotFitAreRefusedWithASentence) {
  const Value x = made({2, 8}), y = made({2, 9});
  EXPECT_EQ(refusal(ops::Linear{.x = x, .weight = weight({9, 7}), .out = y}),
            "t: here: w: x [2,8] W [9,7] out [2,9] do not fit");
  EXPECT_EQ(refusal(ops::Add{x, y, x}), "t: here: b [2,9] does not broadcast to [2,8]");
  EXPECT_EQ(refusal(ops::RmsNorm{.x = x, .out = y}), "t: here: out [2,8] is wanted, [2,9] came");
  EXPECT_EQ(refusal(ops::Linear{.x = x, .out = y}), "t: here: a weight is wanted");
  EXPECT_EQ(refusal(ops::Activation{.x = x}), "t: here: an operand is missing");
  EXPECT_TRUE(trace().ops().empty());
}

TEST_F(TraceTest, TablesAndIndicesAreChecked) {
  const Value x = made({6, 8});
  ops::RmsNorm op{.x = x, .scale = {made({3, 10}), made({4}, DType::i32), 2}, .out = x};
  EXPECT_NE(refusal(op), "");  // 4 rows for 6
  op.scale.rows = made({3}, DType::i32);
  EXPECT_EQ(refusal(op), "");
  op.scale.column = 3;
  EXPECT_NE(refusal(op), "");
  op.scale.column = 2;
  op.scale.rows = made({3}, DType::f32);
  EXPECT_NE(refusal(op), "");
  EXPECT_NE(refusal(ops::Embed{made({3}), weight({5, 8}), 1, made({3, 8})}), "");
  EXPECT_EQ(refusal(ops::Copy{made({2}, DType::i32), made({2})}),
            "t: here: i32 does not become f32");
  EXPECT_NE(refusal(ops::GatherRows{x, made({3}, DType::i32), made({2, 8})}), "");
}

TEST_F(TraceTest, AttentionIsChecked) {
  const Value q = made({1, 3, 4, 8}), k = made({1, 5, 2, 8}), odd = made({1, 5, 3, 8});
  const ops::Attention good{.q = q, .keys = {{{k, k, {}, {}}, {}}}, .out = q};
  EXPECT_EQ(refusal(good), "");
  ops::Attention bad = good;
  bad.keys[0] = {odd, odd, {}, {}};
  EXPECT_NE(refusal(bad), "");
  bad = good;
  bad.visible = {1, 2};
  EXPECT_NE(refusal(bad), "");
  bad.visible = {1, 2, 6};
  EXPECT_NE(refusal(bad), "");
  bad = good;
  bad.keys[0].length = made({2}, DType::i32);
  EXPECT_NE(refusal(bad), "");
  bad = good;
  bad.score_bias = made({4, 3, 4});
  EXPECT_NE(refusal(bad), "");
  bad = good;
  bad.keys[0] = {};
  EXPECT_NE(refusal(bad), "");
}

TEST_F(TraceTest, FusedOpsAreReplacedByTheirDefinition) {
  const Value x = made({2, 3, 8});
  trace().add(
      ops::GatedLinear{
          .x = x, .gate = weight({6, 8}), .up = weight({6, 8}), .out = made({2, 3, 6})},
      "mlp");
  trace().add(ops::QkvRope{.x = x,
                           .weight = weight({16, 8}),
                           .norm_k = weight({4}),
                           .cos = made({9, 2}),
                           .sin = made({9, 2}),
                           .positions = made({3}, DType::i32),
                           .q = made({2, 3, 2, 4}),
                           .k = made({2, 3, 1, 4}),
                           .v = made({2, 3, 1, 4})},
              "qkv");
  const Trace all = trace().lowered([](const Op& op) {
    return !std::holds_alternative<ops::GatedLinear>(op) &&
           !std::holds_alternative<ops::QkvRope>(op);
  });
  std::vector<std::string> labels;
  for (std::size_t i = 0; i < all.ops().size(); ++i) labels.push_back(all.label(i));
  EXPECT_EQ(labels, (std::vector<std::string>{"mlp.gate", "mlp.up", "mlp.act", "qkv", "qkv.q.rope",
                                              "qkv.k.norm", "qkv.k.rope", "qkv.v.copy"}));
  EXPECT_THROW(all.lowered([](const Op& op) { return !std::holds_alternative<ops::Linear>(op); }),
               Error);
}

TEST_F(TraceTest, KeysOnlyHaveNoQueryRows) {
  const Value x = made({1, 3, 8}), k = made({1, 3, 1, 4}), v = made({1, 3, 1, 4});
  trace().add(ops::QkvRope{.x = x, .weight = weight({8, 8}), .k = k, .v = v}, "kv");
  const Trace all =
      trace().lowered([](const Op& op) { return !std::holds_alternative<ops::QkvRope>(op); });
  ASSERT_EQ(all.ops().size(), 3u);
  const auto& copy_k = std::get<ops::Copy>(all.ops()[1]);
  EXPECT_EQ(all.info(copy_k.x).offset, 0);
  EXPECT_EQ(copy_k.out, k);
}

TEST_F(TraceTest, CostCountsMultiplyAddsTwiceAndEveryOperandOnce) {
  program_.weights.push_back({.name = "w", .shape = {16, 8}, .format = Format::bf16});
  trace().add(ops::Linear{.x = made({4, 8}, DType::bf16), .weight = {0}, .out = made({4, 16})});
  const Cost c = cost(trace().ops()[0], trace());
  EXPECT_EQ(c.flops, 2.0 * 4 * 8 * 16);
  EXPECT_EQ(c.bytes, 4 * 8 * 2 + 16 * 8 * 2 + 4 * 16 * 4);
}

TEST_F(TraceTest, EveryOpHasTheNameOfItsStem) {
  EXPECT_EQ(name(Op(ops::Linear{})), "linear");
  EXPECT_EQ(name(Op(ops::QkvRope{})), "qkv_rope");
  EXPECT_EQ(name(Op(ops::SpaceToDepth{})), "space_to_depth");
  EXPECT_EQ(name(Op(ops::AveragePool{})), "average_pool");
  EXPECT_EQ(name(Op(ops::Resize{})), "resize");
}

}  // namespace
}  // namespace tendon
