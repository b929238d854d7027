#include "weights/scope.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/half.h"
#include "tendon/error.h"

namespace tendon {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Written {
  TensorSpec spec;
  std::vector<float> values;
};

class ScopeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(::testing::TempDir()) / (std::string("tendon_scope_") + info->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  Safetensors store(const std::vector<Written>& tensors,
                    const std::map<std::string, std::string>& metadata = {}) {
    std::vector<TensorSpec> specs;
    for (const Written& t : tensors) specs.push_back(t.spec);
    SafetensorsWriter writer(folder_ / "model.safetensors", specs, metadata);
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      std::vector<std::uint16_t> halves;
      for (const float v : tensors[i].values) {
        halves.push_back(specs[i].dtype == DType::f16 ? f32_to_f16(v) : f32_to_bf16(v));
      }
      writer.write(i, 0,
                   specs[i].dtype == DType::f32 ? std::as_bytes(std::span(tensors[i].values))
                                                : std::as_bytes(std::span(halves)));
    }
    writer.finish();
    return Safetensors::open(folder_);
  }

  fs::path folder_;
};

std::vector<float> counting(int n, float start = 0) {
  std::vector<float> values;
  for (int i = 0; i < n; ++i) values.push_back(start + static_cast<float>(i));
  return values;
}

std::string finish_error(Binder& binder, std::vector<std::string> ignored = {}) {
  try {
    binder.finish(ignored);
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

TEST_F(ScopeTest, BindsEveryStoredTypeInPlaceAndByRows) {
  const Checkpoint checkpoint(store({{{"m.0.w", DType::f32, {3, 2}, ""}, counting(6)},
                                     {{"m.0.b", DType::bf16, {3}, ""}, {1, 2, 3}},
                                     {{"m.1.h", DType::f16, {2}, ""}, {0.5f, -0x1p-24f}}}));
  Binder binder(checkpoint);
  const Scope layer = binder.root().at("m", 0);
  const Weight w = layer.matrix("w", 3, 2, Format::bf16);
  EXPECT_EQ(w.name, "m.0.w");
  EXPECT_EQ(w.raw, checkpoint.files()[0]->find("m.0.w")->bytes.data());
  EXPECT_EQ(w.raw_dtype, DType::f32);
  std::vector<float> rows(4);
  w.read(1, 2, rows.data());
  EXPECT_THAT(rows, ElementsAre(2, 3, 4, 5));
  w.release();
  EXPECT_THAT(read_all(w), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(read_all(layer.vector("b", 3, Format::f32)), ElementsAre(1, 2, 3));
  EXPECT_THAT(binder.root().at("m.1").values("h", {2}), ElementsAre(0.5f, -0x1p-24f));
  EXPECT_TRUE(layer.has("b"));
  EXPECT_FALSE(layer.has("c"));
  EXPECT_EQ(finish_error(binder), "");
}

TEST_F(ScopeTest, OneErrorListsAllThatDoesNotFit) {
  const Checkpoint checkpoint(store({{{"a", DType::f32, {2}, ""}, {1, 2}},
                                     {{"b", DType::f32, {2}, ""}, {1, 2}},
                                     {{"c", DType::f32, {2}, ""}, {1, 2}},
                                     {{"x.unused.1", DType::f32, {1}, ""}, {1}},
                                     {{"y", DType::f32, {1}, ""}, {1}}}));
  Binder binder(checkpoint);
  const Scope root = binder.root();
  root.vector("a", 2, Format::f32);
  const Weight wrong = root.matrix("b", 2, 1, Format::f32);
  const Weight missing = root.at("d").vector("e", 4, Format::f32);
  root.vector("f", 4, Format::f32);
  EXPECT_EQ(root.values("g", {2, 2}), std::vector<float>(4));
  EXPECT_EQ(missing.shape, (Shape{4}));
  EXPECT_THROW(read_all(missing), Error);
  EXPECT_THROW(read_all(wrong), Error);
  const std::string message = finish_error(binder, {"x.*"});
  EXPECT_THAT(message, HasSubstr("3 missing: d.e, f, g"));
  EXPECT_THAT(message, HasSubstr("1 of another shape: b [2] instead of [2,1]"));
  EXPECT_THAT(message, HasSubstr("2 not known to the model: c, y"));
  EXPECT_THAT(message, HasSubstr((folder_ / "model.safetensors").string()));
  EXPECT_THAT(binder.unused(), ElementsAre("c", "x.unused.1", "y"));
}

TEST_F(ScopeTest, LongListsAreCutWithACount) {
  const Checkpoint checkpoint(store({{{"a", DType::f32, {1}, ""}, {1}}}));
  Binder binder(checkpoint);
  for (int i = 0; i < 100; ++i) binder.root().at("layer", i).vector("w", 1, Format::f32);
  const std::string message = finish_error(binder, {"*"});
  EXPECT_THAT(message, HasSubstr("100 missing: layer.0.w"));
  EXPECT_THAT(message, HasSubstr("and 76 more"));
}

TEST_F(ScopeTest, OtherTypesAreNoWeights) {
  const std::vector<TensorSpec> specs = {{"d", DType::f64, {2}, ""}};
  const std::vector<double> values = {1, 2};
  SafetensorsWriter writer(folder_ / "model.safetensors", specs);
  writer.write(0, 0, std::as_bytes(std::span(values)));
  writer.finish();
  const Checkpoint checkpoint(Safetensors::open(folder_));
  Binder binder(checkpoint);
  std::vector<float> read(2);
  checkpoint.find("d")->source->read(0, 1, 2, read.data());  // as statistics, say
  EXPECT_THAT(read, ElementsAre(1, 2));
  binder.root().vector("d", 2, Format::f32);
  EXPECT_THAT(finish_error(binder), HasSubstr("1 not F32, BF16 or F16: d F64"));
}

TEST_F(ScopeTest, NanAndInfinityAreNamedWithTheirIndex) {
  std::vector<float> values = counting(12);
  values[7] = std::numeric_limits<float>::quiet_NaN();
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    const Checkpoint checkpoint(store({{{"w", dtype, {3, 4}, ""}, values}}));
    Binder binder(checkpoint);
    const Weight w = binder.root().matrix("w", 3, 4, Format::f32);
    std::vector<float> row(4);
    w.read(0, 1, row.data());
    try {
      w.read(1, 2, std::vector<float>(8).data());
      FAIL() << "NaN went through";
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), HasSubstr("tensor 'w' holds NaN or infinity at [1,3]"));
    }
  }
  values[7] = -std::numeric_limits<float>::infinity();
  const Checkpoint checkpoint(store({{{"w", DType::f32, {3, 4}, ""}, values}}));
  Binder binder(checkpoint);
  binder.root().table("w", 3, 4, Format::f32);
  EXPECT_THAT(finish_error(binder), HasSubstr("at [1,3]"));
}

TEST_F(ScopeTest, JoinedWeightsReadAcrossTheirSeams) {
  const Checkpoint checkpoint(store({{{"q", DType::f32, {3, 2}, ""}, counting(6)},
                                     {{"k", DType::bf16, {1, 2}, ""}, {10, 11}},
                                     {{"v", DType::f32, {2, 2}, ""}, counting(4, 20)}}));
  Binder binder(checkpoint);
  const Weight w = binder.root().joined({{"q", 3}, {"k", 1}, {"v", 2}}, 2, Format::bf16);
  EXPECT_EQ(w.name, "q|k|v");
  EXPECT_EQ(w.shape, (Shape{6, 2}));
  EXPECT_EQ(w.raw, nullptr);
  const std::vector<float> all = {0, 1, 2, 3, 4, 5, 10, 11, 20, 21, 22, 23};
  EXPECT_EQ(read_all(w), all);
  for (int first = 0; first < 6; ++first) {
    for (int count = 0; first + count <= 6; ++count) {
      std::vector<float> part(static_cast<std::size_t>(count * 2));
      w.read(first, count, part.data());
      EXPECT_TRUE(std::equal(part.begin(), part.end(), all.begin() + first * 2));
    }
  }
  w.release();
}

TEST_F(ScopeTest, ViewsPermuteSliceSelectSplitAndSum) {
  const Checkpoint checkpoint(store({{{"w", DType::f32, {2, 3, 4, 5}, ""}, counting(120)}}));
  const auto element = [](int a, int b, int c, int d) {
    return static_cast<float>(((a * 3 + b) * 4 + c) * 5 + d);
  };
  Binder binder(checkpoint);
  const Scope root = binder.root();
  const TensorView all(Shape{2, 3, 4, 5});
  const Weight last = root.view("w", all.permute({0, 2, 3, 1}), {2, 60}, Format::f32);
  const Weight one = root.view("w", all.select(2, 3).permute({2, 0, 1}), {5, 6}, Format::f32);
  const Weight some = root.view("w", all.slice(1, 1, 2), {4, 20}, Format::f32);
  const Weight sum = root.view("w", all.sum(2), {6, 5}, Format::f32);
  const Weight halves =
      root.view("w", all.split(2, 2).permute({0, 3, 1, 2, 4}), {4, 30}, Format::f32);
  std::vector<float> e_last, e_one, e_some, e_sum, e_halves;
  for (int a = 0; a < 2; ++a)
    for (int c = 0; c < 4; ++c)
      for (int d = 0; d < 5; ++d)
        for (int b = 0; b < 3; ++b) e_last.push_back(element(a, b, c, d));
  for (int d = 0; d < 5; ++d)
    for (int a = 0; a < 2; ++a)
      for (int b = 0; b < 3; ++b) e_one.push_back(element(a, b, 3, d));
  for (int a = 0; a < 2; ++a)
    for (int b = 1; b < 3; ++b)
      for (int i = 0; i < 20; ++i) e_some.push_back(element(a, b, 0, i));
  for (int a = 0; a < 2; ++a)
    for (int b = 0; b < 3; ++b)
      for (int d = 0; d < 5; ++d)
        e_sum.push_back(element(a, b, 0, d) + element(a, b, 1, d) + element(a, b, 2, d) +
                        element(a, b, 3, d));
  for (int a = 0; a < 2; ++a)
    for (int ci = 0; ci < 2; ++ci)
      for (int b = 0; b < 3; ++b)
        for (int co = 0; co < 2; ++co)
          for (int d = 0; d < 5; ++d) e_halves.push_back(element(a, b, co * 2 + ci, d));
  EXPECT_EQ(read_all(last), e_last);
  EXPECT_EQ(read_all(one), e_one);
  EXPECT_EQ(read_all(some), e_some);
  EXPECT_EQ(read_all(sum), e_sum);
  EXPECT_EQ(read_all(halves), e_halves);
  std::vector<float> rows(12);
  one.read(2, 2, rows.data());
  EXPECT_TRUE(std::equal(rows.begin(), rows.end(), e_one.begin() + 12));
  EXPECT_EQ(last.raw, nullptr);
  EXPECT_NE(root.view("w", all, {6, 20}, Format::f32).raw, nullptr);
  EXPECT_THROW(root.view("w", all, {7, 20}, Format::f32), Error);
  EXPECT_THROW(all.select(4, 0), Error);
  EXPECT_THROW(all.slice(1, 2, 2), Error);
  EXPECT_THROW(all.permute({0, 1, 2}), Error);
  EXPECT_THROW(all.permute({0, 1, 2, 2}), Error);
  EXPECT_THROW(all.split(3, 2), Error);
}

TEST_F(ScopeTest, LargeTransposesReadAnyRows) {
  const Checkpoint checkpoint(store({{{"w", DType::f32, {3, 150, 70}, ""}, counting(31500)}}));
  Binder binder(checkpoint);
  const Weight w = binder.root().view("w", TensorView(Shape{3, 150, 70}).permute({0, 2, 1}),
                                      {210, 150}, Format::f32);
  for (const auto& [first, count] : {std::pair{0, 210}, {1, 208}, {69, 2}, {5, 1}, {66, 80}}) {
    std::vector<float> part(static_cast<std::size_t>(count * 150));
    w.read(first, count, part.data());
    for (int r = 0; r < count; ++r) {
      for (int c = 0; c < 150; ++c) {
        const int a = (first + r) / 70, b = (first + r) % 70;
        ASSERT_EQ(part[static_cast<std::size_t>(r * 150 + c)],
                  static_cast<float>((a * 150 + c) * 70 + b));
      }
    }
  }
}

TEST_F(ScopeTest, MappedAndComputed) {
  const Checkpoint checkpoint(store({{{"w", DType::f32, {3, 2}, ""}, counting(6)}}));
  Binder binder(checkpoint);
  const Weight w = mapped(binder.root().matrix("w", 3, 2, Format::f32),
                          [](std::int64_t first, std::span<float> rows) {
                            for (std::size_t i = 0; i < rows.size(); ++i) {
                              rows[i] += 100.0f * static_cast<float>(first + i / 2);
                            }
                          });
  EXPECT_THAT(read_all(w), ElementsAre(0, 1, 102, 103, 204, 205));
  EXPECT_EQ(w.raw, nullptr);
  const Weight both = join({w, computed("c", {1, 2}, Format::f32, {7, 8})});
  std::vector<float> rows(4);
  both.read(2, 2, rows.data());
  EXPECT_THAT(rows, ElementsAre(204, 205, 7, 8));
  EXPECT_THROW(join({w, computed("c", {1, 3}, Format::f32, {7, 8, 9})}), Error);
  EXPECT_THROW(computed("c", {1, 3}, Format::f32, {7, 8}), Error);
}

TEST(PaddedWeights, ZerosToTheRightAndBelow) {
  const Weight w = computed("w", {3, 2}, Format::f32, {1, 2, 3, 4, 5, 6});
  const Weight wide = padded(w, {4, 5});
  const std::vector<float> all = read_all(wide);
  const std::vector<float> wanted = {1, 2, 0, 0, 0, 3, 4, 0, 0, 0, 5, 6, 0, 0, 0, 0, 0, 0, 0, 0};
  EXPECT_EQ(all, wanted);
  std::vector<float> some(10, 7.0f);
  wide.read(2, 2, some.data());
  EXPECT_EQ(some, (std::vector<float>{5, 6, 0, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(read_all(padded(computed("b", {2}, Format::f32, {1, 2}), {4})),
            (std::vector<float>{1, 2, 0, 0}));
  EXPECT_THROW(padded(w, {2, 5}), Error);
}

TEST_F(ScopeTest, RulesRenameInOrder) {
  const std::vector<NameRule> rules = {{"model.stack.*", "stack.$1"},
                                       {"model.action_*", "action_$1"},
                                       {"stack.layers.*.blocks.*.*", "stack.mixtures.$2.$1.$3"}};
  EXPECT_EQ(apply_rules(rules, "model.stack.layers.12.blocks.video.ffn.0.weight"),
            "stack.mixtures.video.12.ffn.0.weight");
  EXPECT_EQ(apply_rules(rules, "model.action_in.weight"), "action_in.weight");
  EXPECT_EQ(apply_rules(rules, "model.other"), "model.other");
  const std::vector<NameRule> broken = {{"a", "$1"}};
  EXPECT_THROW(apply_rules(broken, "a"), Error);
}

TEST_F(ScopeTest, TiedNamesComeFromMetadata) {
  const std::vector<NameRule> rules = {{"model.*", "$1"}};
  const Checkpoint checkpoint(
      store({{{"model.head", DType::f32, {2}, ""}, {1, 2}}},
            {{"model.embed", "model.head"}, {"format", "pt"}, {"gone", "nothing"}}),
      rules);
  EXPECT_TRUE(checkpoint.has("embed"));
  EXPECT_FALSE(checkpoint.has("format"));
  EXPECT_FALSE(checkpoint.has("gone"));
  Binder binder(checkpoint);
  EXPECT_THAT(binder.root().values("embed", {2}), ElementsAre(1, 2));
  EXPECT_EQ(finish_error(binder), "");  // the tied tensor counts as used
}

TEST_F(ScopeTest, TwoTensorsWithOneNameAreRefused) {
  const std::vector<NameRule> rules = {{"model.*", "$1"}};
  const std::vector<Written> both = {{{"model.a", DType::f32, {1}, ""}, {1}},
                                     {{"a", DType::f32, {1}, ""}, {2}}};
  try {
    const Checkpoint checkpoint(store(both), rules);
    FAIL() << "took both";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("'a' and 'model.a' are both 'a' to the model"));
  }
}

TEST_F(ScopeTest, MergedCheckpointsKeepTheirFiles) {
  Checkpoint one(store({{{"w", DType::f32, {2}, ""}, {1, 2}}}));
  const std::string alone = one.fingerprint();
  fs::rename(folder_ / "model.safetensors", folder_ / "other.safetensors");
  Checkpoint two(store({{{"w", DType::f32, {2}, ""}, {3, 4}}}));
  Checkpoint both;
  both.merge(std::move(one), "policy.");
  EXPECT_EQ(both.origin(), (folder_ / "model.safetensors").string());
  both.merge(std::move(two), "vae.");
  const Checkpoint moved = std::move(both);
  Binder binder(moved);
  EXPECT_THAT(binder.root().at("policy").values("w", {2}), ElementsAre(1, 2));
  EXPECT_THAT(binder.root().at("vae").values("w", {2}), ElementsAre(3, 4));
  EXPECT_NE(moved.fingerprint(), alone);
}

TEST_F(ScopeTest, DefinedTensorsStandForStackedOnes) {
  // [layers, in, out] as another library stacks them; wanted: [out, in] for each layer.
  Checkpoint checkpoint(store({{{"stack", DType::f32, {2, 3, 4}, ""}, counting(24)}}));
  const TensorView all(Shape{2, 3, 4});
  for (int i = 0; i < 2; ++i) {
    checkpoint.define("layers." + std::to_string(i) + ".w", "stack",
                      all.select(0, i).permute({1, 0}), {4, 3});
  }
  EXPECT_THROW(checkpoint.define("x", "none", all, {24}), Error);
  EXPECT_THROW(checkpoint.define("x", "stack", all, {23}), Error);
  EXPECT_THROW(checkpoint.define("x", "stack", TensorView(Shape{24}), {24}), Error);
  Binder binder(checkpoint);
  const Weight w = binder.root().at("layers", 1).matrix("w", 4, 3, Format::f32);
  EXPECT_THAT(read_all(w), ElementsAre(12, 16, 20, 13, 17, 21, 14, 18, 22, 15, 19, 23));
  EXPECT_EQ(w.raw, nullptr);
  const Weight columns =
      binder.root()
          .at("layers", 1)
          .view("w", TensorView(Shape{4, 3}).permute({1, 0}), {3, 4}, Format::f32);
  EXPECT_EQ(read_all(columns), counting(12, 12));
  EXPECT_THAT(finish_error(binder), HasSubstr("1 not known to the model: layers.0.w"));
}

TEST_F(ScopeTest, UnalignedTensorsReadRightAndHaveNoRaw) {
  // A file another writer made: one byte of u8 data before the floats.
  const std::vector<TensorSpec> specs = {{"u", DType::u8, {1}, ""}, {"w", DType::f32, {2}, ""}};
  const std::vector<float> values = {3, 4};
  SafetensorsWriter writer(folder_ / "model.safetensors", specs);
  writer.write(0, 0, std::vector<std::byte>(1));
  writer.write(1, 0, std::as_bytes(std::span(values)));
  writer.finish();
  const Checkpoint checkpoint(Safetensors::open(folder_));
  Binder binder(checkpoint);
  const Weight w = binder.root().vector("w", 2, Format::f32);
  EXPECT_EQ(w.raw, nullptr);
  EXPECT_THAT(read_all(w), ElementsAre(3, 4));
}

}  // namespace
}  // namespace tendon
