#include "sim/demonstration.h"

#include <gtest/gtest.h>

#include <cmath>

#include "sim/prompt.h"

namespace tendon::sim {
namespace {

using Colours = std::vector<int>;

TEST(Demonstration, KeepsARowOfEveryFieldForEachFrame) {
  World world;
  const Demonstration one = demonstrate(world, {}, 2);
  EXPECT_TRUE(one.succeeded);
  EXPECT_GT(one.frames, 20);
  for (int field = 0; field < kFields; ++field) {
    EXPECT_EQ(one.fields[field].size(), static_cast<std::size_t>(one.frames) * kFieldWidths[field])
        << kFieldNames[field];
  }
}

TEST(Demonstration, ItsPromptsNameTheTarget) {
  World world;
  const std::vector<std::string> prompts = all_prompts(Task::pick_block);
  const Demonstration one = demonstrate(world, {}, 5);
  const Episode episode = draw_episode({.start = Start::wild}, 0, 5);
  for (int frame = 0; frame < one.frames; ++frame) {
    const auto prompt = static_cast<std::size_t>(one.fields[kEpisode][2 * frame + 1]);
    ASSERT_LT(prompt, prompts.size());
    EXPECT_EQ(colours_in(prompts[prompt]).at(0), episode.cubes[episode.target].colour);
  }
}

TEST(Demonstration, EveryVerbIsToldInPromptsThatExist) {
  World world;
  const std::vector<std::string> prompts = all_prompts(Task::blocks);
  EXPECT_EQ(prompts.size(), 6 * 4 + 4 * 4 + 4 * 12);
  for (int number = 0; number < 6; ++number) {
    const Demonstration one = demonstrate(world, {.task = Task::blocks}, number);
    EXPECT_LT(one.fields[kEpisode].at(1), prompts.size());
  }
}

// Goes where its row number says and no further, so that nothing is done.
Status stray(const Observation& seen, const InferOptions&, Chunk& chunk) {
  chunk.horizon = 16, chunk.width = kStateWidth;
  chunk.actions.clear();
  for (int row = 0; row < 16; ++row) {
    const std::vector<double>& state = seen.state[0].values;
    for (int i = 0; i < 4; ++i) chunk.actions.push_back(state[i] + (i == 0 ? 0.02 * row : 0));
    chunk.actions.push_back(1);
  }
  return {};
}

TEST(Demonstration, TheExpertTakesOverFromALeader) {
  World world;
  const Infer leader = stray;
  DataSetting setting = {.task = Task::blocks, .seed = 4, .verb = Verb::push};
  const Demonstration alone = demonstrate(world, setting, 0);
  setting.leader = &leader;
  const Demonstration led = demonstrate(world, setting, 0), again = demonstrate(world, setting, 0);
  ASSERT_TRUE(led.succeeded);
  EXPECT_EQ(led.fields, again.fields);
  const Episode episode = draw_episode({.task = Task::blocks, .verb = Verb::push}, 4, 0);
  EXPECT_NEAR(alone.fields[kState][0], episode.joints[0], 1e-6);
  EXPECT_GT(led.fields[kState][0], episode.joints[0] + 0.1);
  EXPECT_EQ(
      colours_in(all_prompts(Task::blocks).at(static_cast<std::size_t>(led.fields[kEpisode][1]))),
      Colours{episode.cubes[episode.target].colour});
}

TEST(Demonstration, DisturbedEpisodesAreLabelledWithTheUndisturbedAction) {
  World world;
  const Demonstration calm = demonstrate(world, {}, 4), pushed = demonstrate(world, {}, 7);
  // What the arm does follows the label in a calm episode and strays from it in a disturbed one.
  const auto stray = [](const Demonstration& one) {
    double worst = 0;
    for (int frame = 0; frame + 1 < one.frames; ++frame) {
      const float* label = one.fields[kAction].data() + 5 * frame;
      const float* next = one.fields[kState].data() + 5 * (frame + 1);
      for (int i = 0; i < 4; ++i) worst = std::max(worst, std::abs(double{label[i]} - next[i]));
    }
    return worst;
  };
  EXPECT_GT(stray(pushed), 1.3 * stray(calm));
}

}  // namespace
}  // namespace tendon::sim
