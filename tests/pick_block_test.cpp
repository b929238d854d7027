// The demo policies drive the simulated arm: the whole chain from pictures to a lifted block.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "sim/rollout.h"
#include "tendon/tendon.h"

namespace tendon {
namespace {

sim::RolloutResult run(const char* dtype, sim::RolloutOptions options) {
  const bool several = options.task == sim::Task::blocks;
  LoadOptions how;
  how.dtype = dtype;
  how.threads = 1;  // other tests run beside this one
  Policy policy = load(std::string(TENDON_ASSETS_DIR) + (several ? "/blocks" : "/pick_block"), how);
  const sim::Infer infer = [&policy](const Observation& seen, const InferOptions& call,
                                     Chunk& chunk) { return policy.infer(seen, call, chunk); };
  options.seed = 77;
  return sim::rollout(infer, options);
}

sim::RolloutOptions in_the_dark(sim::Task task, int episodes) {
  sim::RolloutOptions options;
  options.task = task;
  options.episodes = episodes;
  options.blanked = {true, true};
  return options;
}

TEST(PickBlock, LiftsTheBlockThatThePromptNames) {
  for (const char* dtype : {"f32", "bf16"}) {
    const sim::RolloutResult result = run(dtype, {.episodes = 5});
    EXPECT_EQ(result.successes(), 5) << dtype;
    EXPECT_LT(result.mean_ticks(), 60) << dtype;
  }
}

TEST(PickBlock, FollowsThePromptAndNotTheScene) {
  const sim::RolloutResult result =
      run("f32", {.episodes = 4, .prompts = {"pick up the {other} block"}});
  EXPECT_EQ(result.successes(), 4);
  EXPECT_EQ(result.originals(), 0);
}

TEST(PickBlock, LiftsNothingWithBlackPictures) {
  const sim::RolloutResult result = run("f32", in_the_dark(sim::Task::pick_block, 2));
  EXPECT_EQ(result.successes() + result.others(), 0);
}

TEST(Blocks, DoesWhatThePromptSays) {
  const std::vector<std::string> prompts = {"pick up the {colour} block",
                                            "push the {colour} block away",
                                            "put the {colour} block on the {base} block"};
  const sim::RolloutResult result =
      run("bf16", {.task = sim::Task::blocks, .episodes = 6, .prompts = prompts});
  EXPECT_EQ(result.successes(), 6);
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(static_cast<int>(result.episodes[static_cast<std::size_t>(i)].verb), i % 3);
  }
}

TEST(Blocks, DoesItToAnotherBlockThatThePromptNames) {
  const std::vector<std::string> prompts = {"pick up the {other} block",
                                            "push the {other} block away",
                                            "put the {other} block on the {base} block"};
  const sim::RolloutResult result =
      run("f32", {.task = sim::Task::blocks, .episodes = 6, .prompts = prompts});
  EXPECT_EQ(result.successes(), 6);
  EXPECT_EQ(result.originals(), 0);
}

TEST(Blocks, DoesNothingWithBlackPictures) {
  const sim::RolloutResult result = run("bf16", in_the_dark(sim::Task::blocks, 3));
  EXPECT_EQ(result.successes() + result.others(), 0);
}

TEST(PickBlock, DrivesToTheSameBitsAgain) {
  const sim::RolloutOptions options = {.episodes = 2};
  EXPECT_EQ(run("bf16", options).fingerprint, run("bf16", options).fingerprint);
}

}  // namespace
}  // namespace tendon
