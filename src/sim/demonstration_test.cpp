#include "sim/demonstration.h"

#include <gtest/gtest.h>

#include <cmath>

#include "sim/episode.h"

namespace tendon::sim {
namespace {

TEST(Demonstration, KeepsARowOfEveryFieldForEachFrame) {
  World world;
  const Demonstration one = demonstrate(world, 0, 2, 0);
  EXPECT_TRUE(one.succeeded);
  EXPECT_GT(one.frames, 20);
  for (int field = 0; field < kFields; ++field) {
    EXPECT_EQ(one.fields[field].size(), static_cast<std::size_t>(one.frames) * kFieldWidths[field])
        << kFieldNames[field];
  }
}

TEST(Demonstration, ItsPromptsNameTheTarget) {
  World world;
  const std::vector<std::string> prompts = all_prompts();
  const Demonstration one = demonstrate(world, 0, 5, 0);
  const Episode episode = draw_episode(0, 5, Start::wild);
  for (int frame = 0; frame < one.frames; ++frame) {
    const auto prompt = static_cast<std::size_t>(one.fields[kEpisode][2 * frame + 1]);
    ASSERT_LT(prompt, prompts.size());
    EXPECT_EQ(colour_in(prompts[prompt]), episode.cubes[episode.target].colour);
  }
}

TEST(Demonstration, DisturbedEpisodesAreLabelledWithTheUndisturbedAction) {
  World world;
  const Demonstration calm = demonstrate(world, 0, 4, 0), pushed = demonstrate(world, 0, 7, 0);
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
