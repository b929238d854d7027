// Options of a call that only some families know: the evaluation's own noise, the schedule's shift,
// ways to hold decided rows.
#include <gtest/gtest.h>

#include "base/rng.h"
#include "preprocess/noise.h"
#include "tendon/tendon.h"
#include "tests/policy/folder.h"

namespace tendon::testing {
namespace {

class Options : public ::testing::Test, protected Miniature {
 protected:
  explicit Options(const char* family)
      : Miniature("options", family, std::vector<std::uint8_t>(kPixels, 90)) {}
};

class FastWamOptions : public Options {
 protected:
  FastWamOptions() : Options("fastwam") {}
};
class Pi05Options : public Options {
 protected:
  Pi05Options() : Options("pi05") {}
};

// Its evaluation draws PyTorch's noise of seed 42 for every chunk.
TEST_F(FastWamOptions, NoiseOfTheEvaluation) {
  Policy policy = load();
  const Observation seen = observation(policy.info());
  const Chunk chunk = policy.infer(seen);
  std::vector<float> noise(chunk.model_actions.size());
  torch_cpu_noise(42, noise);
  EXPECT_EQ(policy.infer(seen, {.noise = noise}).actions, chunk.actions);
  EXPECT_EQ(policy.infer(seen).actions, chunk.actions);
  fill_gaussian(42, 0, noise);
  const Chunk seeded = policy.infer(seen, {.seed = 42});
  EXPECT_EQ(policy.infer(seen, {.noise = noise}).actions, seeded.actions);
  EXPECT_NE(seeded.actions, chunk.actions);
}

TEST_F(FastWamOptions, ShiftOfACall) {
  Policy policy = load();
  const Observation seen = observation(policy.info());
  const Chunk usual = policy.infer(seen);
  EXPECT_EQ(policy.infer(seen, {.shift = 5}).actions, usual.actions);
  EXPECT_NE(policy.infer(seen, {.shift = 3}).actions, usual.actions);
  EXPECT_EQ(policy.infer(seen).actions, usual.actions);
}

TEST_F(FastWamOptions, EveryRuleForDecidedRows) {
  Policy policy = load();
  const Observation seen = observation(policy.info());
  const Chunk first = policy.infer(seen);
  const std::vector<float> pinned(first.model_actions.begin(),
                                  first.model_actions.begin() + 3 * first.model_width);
  const auto next = [&](PinRule rule) {
    const Chunk chunk = policy.infer(seen, {.seed = 2, .pinned = pinned, .pin_rule = rule});
    EXPECT_TRUE(std::equal(pinned.begin(), pinned.end(), chunk.model_actions.begin()));
    return chunk.model_actions;
  };
  const std::vector<float> own = next(PinRule::family);
  EXPECT_EQ(next(PinRule::renoised), own);
  EXPECT_NE(next(PinRule::clamped), own);
  EXPECT_NE(next(PinRule::conditioned), own);
  EXPECT_NE(next(PinRule::conditioned), next(PinRule::clamped));
}

TEST_F(FastWamOptions, ItsTimesAreNotDivided) {
  EXPECT_THROW(load({.schedule = "divided"}), Error);
}

TEST_F(Pi05Options, WhatItDoesNotKnowIsRefused) {
  Policy policy = load();
  const Observation seen = observation(policy.info());
  const Chunk first = policy.infer(seen);
  EXPECT_EQ(policy.infer(seen, {.seed = 0}).actions, first.actions);
  const std::span<const float> row =
      std::span(first.model_actions).first(static_cast<std::size_t>(first.model_width));
  Chunk chunk;
  const auto refused = [&](const InferOptions& how, const char* word) {
    const Status status = policy.infer(seen, how, chunk);
    EXPECT_FALSE(status.ok()) << word;
    EXPECT_NE(std::string(status.message()).find(word), std::string::npos) << status.message();
  };
  refused({.shift = 3}, "shift");
  refused({.pinned = row, .pin_rule = PinRule::renoised}, "rule");
  refused({.pinned = row, .pin_rule = PinRule::clamped}, "rule");
  EXPECT_TRUE(policy.infer(seen, {.pinned = row, .pin_rule = PinRule::conditioned}, chunk).ok());
  EXPECT_THROW(load({.schedule = "bf16"}), Error);
  EXPECT_EQ(load({.schedule = "divided"}).info().schedule, "divided");
}

}  // namespace
}  // namespace tendon::testing
