#include "weights/synthetic.h"

#include <cmath>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/half.h"
#include "tendon/error.h"
#include "weights/safetensors.h"
#include "weights/scope.h"

namespace tendon {
namespace {

namespace fs = std::filesystem;

std::vector<float> values_of(const TensorSpec& spec, const SyntheticRule& rule) {
  const Checkpoint checkpoint = synthetic_checkpoint(std::vector{spec}, rule);
  Binder binder(checkpoint);
  return binder.root().values(spec.name, spec.shape);
}

TEST(Synthetic, TinyRuleGivesThePublishedValues) {
  const SyntheticRule rule{.scale = SyntheticRule::Scale::tiny};
  const auto w = values_of({"action_in_proj.weight", DType::f32, {32, 8}, ""}, rule);
  const float expected[] = {0.09525751f, -0.12496406f, -0.00453304f, -0.02425069f};
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(w[i], expected[i], 1e-8f);
  const auto b = values_of({"action_in_proj.weight", DType::f32, {8}, ""}, rule);
  EXPECT_EQ(b[1], w[1] * 2);
}

TEST(Synthetic, InputsGiveThePublishedValues) {
  std::vector<float> noise(4);
  fill_synthetic_input("input.noise", 2.0f, noise);
  const float expected[] = {1.3113008f, 1.8594103f, -1.5810215f, 1.7803187f};
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(noise[i], expected[i], 1e-7f);
}

TEST(Synthetic, UnitRuleScalesByFanIn) {
  const SyntheticRule rule{.factors = {"*.norm.weight", "*.gamma"}};
  std::vector<float> u(2 * 3 * 4);
  fill_synthetic_input("x.weight", 1.0f, u);
  const auto w = values_of({"x.weight", DType::f32, {2, 3, 4}, ""}, rule);
  const float scale = static_cast<float>(std::sqrt(3.0 / 12.0));
  for (std::size_t i = 0; i < w.size(); ++i) EXPECT_EQ(w[i], u[i] * scale);
  const auto b = values_of({"x.weight", DType::f32, {5}, ""}, rule);
  EXPECT_EQ(b[3], u[3] * 0.1f);

  fill_synthetic_input("a.norm.weight", 1.0f, u);
  const auto factor = values_of({"a.norm.weight", DType::f32, {5}, ""}, rule);
  EXPECT_EQ(factor[2], 1.0f + u[2] * 0.1f);
  fill_synthetic_input("a.gamma", 1.0f, u);
  const auto gamma = values_of({"a.gamma", DType::f32, {4, 1, 1, 1}, ""}, rule);
  EXPECT_EQ(gamma[3], 1.0f + u[3] * 0.1f);
}

TEST(Synthetic, PrefixRuleNameMultiplyAndStoredType) {
  const TensorSpec spec{"e.embed.weight", DType::f32, {4, 3}, "head.weight"};
  const auto plain = values_of({"seed2.head.weight", DType::f32, {4, 3}, ""}, {});
  EXPECT_EQ(values_of(spec, {.prefix = "seed2."}), plain);
  const auto eight = values_of(spec, {.prefix = "seed2.", .multiply = {{"head.*", 8.0f}}});
  EXPECT_EQ(eight[5], plain[5] * 8.0f);
  const auto none =
      values_of({"ahead.weight", DType::f32, {2}, ""}, {.multiply = {{"head.*", 8.0f}}});
  EXPECT_EQ(none, values_of({"ahead.weight", DType::f32, {2}, ""}, {}));
  const auto part =
      values_of({"a.head.weight", DType::f32, {2}, ""}, {.multiply = {{"head.*", 8.0f}}});
  EXPECT_EQ(part[1], values_of({"a.head.weight", DType::f32, {2}, ""}, {})[1] * 8.0f);
  const auto half = values_of(spec, {.prefix = "seed2.", .stored_as = DType::bf16});
  for (std::size_t i = 0; i < half.size(); ++i) EXPECT_EQ(half[i], round_bf16(plain[i]));
  TensorSpec as_bf16 = spec;
  as_bf16.dtype = DType::bf16;
  EXPECT_EQ(values_of(as_bf16, {.prefix = "seed2."}), half);
  EXPECT_THROW(values_of({"x", DType::i32, {2}, ""}, {}), Error);
  EXPECT_THROW(parse_synthetic_scale("small"), Error);
}

TEST(Synthetic, LawsGiveTheVectorsGenerator) {
  const SyntheticRule rule{.laws = {{.glob = "a", .amplitude = 1},
                                    {.glob = "*.bias", .amplitude = 0.1},
                                    {.glob = "*.weight", .rank = 1, .offset = 1, .amplitude = 0.25},
                                    {.glob = "*.weight"}}};
  const auto a = values_of({"a", DType::f32, {3}, ""}, rule);
  const double expected[] = {-0.25653815, 0.50770867, -0.36447346};
  for (int i = 0; i < 3; ++i) EXPECT_NEAR(a[i], expected[i], 5e-9);
  EXPECT_NEAR(values_of({"n.weight", DType::f32, {2}, ""}, rule)[1], 1.0, 0.25);
  const auto w = values_of({"n.weight", DType::f32, {2, 300}, ""}, rule);
  for (const float v : w) EXPECT_LE(std::fabs(v), 0.1f);
  EXPECT_THROW(values_of({"other", DType::f32, {2}, ""}, rule), Error);
}

TEST(Synthetic, AnyRangeAndStrideAgree) {
  const TensorSpec spec{"w", DType::bf16, {100, 130}, ""};
  const Checkpoint checkpoint = synthetic_checkpoint(std::vector{spec}, {});
  Binder binder(checkpoint);
  const auto all = binder.root().values("w", spec.shape);
  const TensorSource& source = *checkpoint.find("w")->source;
  std::vector<float> part(7);
  source.read(4090, 1, 7, part.data());
  EXPECT_TRUE(std::equal(part.begin(), part.end(), all.begin() + 4090));
  source.read(3, 130, 7, part.data());
  for (int i = 0; i < 7; ++i) EXPECT_EQ(part[i], all[3 + 130 * i]);
}

TEST(Synthetic, FilesHoldWhatMemoryHolds) {
  const fs::path folder = fs::path(::testing::TempDir()) / "tendon_synthetic_file";
  fs::create_directories(folder);
  const SyntheticRule rule{.prefix = "p.", .factors = {"n"}};
  const SyntheticFile file{.tensors = {{"n", DType::f32, {70}, ""},
                                       {"w", DType::bf16, {1500, 1000}, ""},
                                       {"h", DType::f16, {30, 10}, "other"}},
                           .metadata = {{"format", "pt"}}};
  double done = 0;
  SyntheticFile watched = file;
  watched.progress = [&](double d) { done = d; };
  write_synthetic(folder / "model.safetensors", watched, rule);
  EXPECT_EQ(done, 1.0);
  const Checkpoint stored(Safetensors::open(folder));
  const Checkpoint generated = synthetic_checkpoint(file.tensors, rule);
  for (const TensorSpec& t : file.tensors) {
    Binder a(stored), b(generated);
    EXPECT_EQ(stored.find(t.name)->dtype, t.dtype);
    EXPECT_EQ(a.root().values(t.name, t.shape), b.root().values(t.name, t.shape)) << t.name;
  }
  EXPECT_EQ(stored.metadata().at("format"), "pt");
  fs::remove_all(folder);
}

TEST(Synthetic, FingerprintFollowsTheRule) {
  const std::vector<TensorSpec> specs = {{"w", DType::f32, {3, 4}, ""}};
  const std::string base = synthetic_checkpoint(specs, {}).fingerprint();
  EXPECT_EQ(synthetic_checkpoint(specs, {}).fingerprint(), base);
  EXPECT_NE(synthetic_checkpoint(specs, {.prefix = "x"}).fingerprint(), base);
  EXPECT_NE(synthetic_checkpoint(specs, {.stored_as = DType::bf16}).fingerprint(), base);
}

}  // namespace
}  // namespace tendon
