#include "sim/rollout.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <numeric>

#include "sim/chunk_player.h"
#include "sim/prompt.h"

namespace tendon::sim {
namespace {

// A policy that knows the way: goes to the place of the target of `episode 0 of seed 3`, closes and
// lifts. It sees the state only, so it works for that one scene.
class Scripted {
 public:
  explicit Scripted(std::uint64_t seed) : episode_(draw_episode({}, seed, 0)) {}

  Status operator()(const Observation& seen, const InferOptions& options, Chunk& chunk) {
    ++calls;
    last = seen;
    last_seed = *options.seed;
    const Image& base = seen.cameras[0].image;
    brightness = std::accumulate(base.data, base.data + 3 * base.width * base.height, 0);
    const Episode::Cube& cube = episode_.cubes[episode_.target];
    chunk.horizon = 16, chunk.width = kStateWidth;
    chunk.actions.clear();
    for (int row = 0; row < 16; ++row) {
      const double time = tick + row;
      const double height = time < 30 ? 0.10 : time < 60 ? 0.019 : 0.019 + 0.005 * (time - 60);
      const Joints joints = joints_at({cube.x, cube.y, std::min(height, 0.15)});
      chunk.actions.insert(chunk.actions.end(), joints.begin(), joints.end());
      chunk.actions.push_back(time < 50 ? 1 : 0);
    }
    tick += 8;
    return {};
  }

  int calls = 0, tick = 0, brightness = 0;
  Observation last;
  std::uint64_t last_seed = 0;

 private:
  Episode episode_;
};

RolloutOptions one_episode() {
  RolloutOptions options;
  options.episodes = 1;
  options.seed = 3;
  return options;
}

TEST(Rollout, AScriptThatPicksUpTheTargetSucceeds) {
  Scripted script(3);
  const RolloutResult result = rollout(std::ref(script), one_episode());
  ASSERT_EQ(result.episodes.size(), 1u);
  EXPECT_TRUE(result.episodes[0].success());
  EXPECT_EQ(result.episodes[0].done.cube, result.episodes[0].target);
  EXPECT_EQ(result.latencies.size(), static_cast<std::size_t>(script.calls));
  EXPECT_EQ(script.calls, (result.episodes[0].ticks + 7) / 8);
  EXPECT_EQ(script.last.cameras[1].name, "left_wrist_0_rgb");
  EXPECT_EQ(script.last.cameras[1].image.width, 112);
  const Episode drawn = draw_episode({}, 3, 0);
  const std::string_view colour = kColourNames[drawn.cubes[drawn.target].colour];
  EXPECT_EQ(script.last.prompt, "pick up the " + std::string(colour) + " block");
}

TEST(Rollout, TheSameWhenAnotherCubeWasNamedIsAFailure) {
  Scripted script(3);
  RolloutOptions options = one_episode();
  options.prompts = {"pick up the {other} block"};
  const RolloutResult result = rollout(std::ref(script), options);
  EXPECT_EQ(result.successes(), 0);
  EXPECT_EQ(result.others(), 1);
  EXPECT_EQ(result.originals(), 1);
}

TEST(Rollout, TheExpertDoesWhatThePromptNames) {
  RolloutOptions options;
  options.task = Task::blocks;
  options.episodes = 6;
  options.prompts = {"pick up the {other} block", "push the {other} block away",
                     "put the {other} block on the {base} block"};
  const RolloutResult result = rollout_by_expert(options);
  EXPECT_EQ(result.successes(), 6);
  EXPECT_EQ(result.originals(), 0);
  EXPECT_TRUE(result.latencies.empty());
  options.prompts = {"pick up the {absent} block"};
  options.most_ticks = 20;
  EXPECT_EQ(rollout_by_expert(options).successes(), 0);
}

TEST(Rollout, RunsToTheSameBitsAndToOthersWithAnotherSeed) {
  RolloutOptions options = one_episode();
  Scripted a(3), b(3), c(4);
  const RolloutResult first = rollout(std::ref(a), options), again = rollout(std::ref(b), options);
  options.seed = 4;
  const RolloutResult other = rollout(std::ref(c), options);
  EXPECT_EQ(first.fingerprint, again.fingerprint);
  EXPECT_EQ(a.last_seed, b.last_seed);
  EXPECT_NE(first.fingerprint, other.fingerprint);
}

TEST(Rollout, BlankedPicturesAreBlackForThePolicy) {
  Scripted open(3), blind(3);
  RolloutOptions options = one_episode();
  options.most_ticks = 1;
  rollout(std::ref(open), options);
  options.blanked = {true, false};
  rollout(std::ref(blind), options);
  EXPECT_GT(open.brightness, 0);
  EXPECT_EQ(blind.brightness, 0);
}

TEST(Rollout, RefusesWhatDoesNotFit) {
  Scripted script(3);
  RolloutOptions options = one_episode();
  options.execute = 12, options.delay = 5;
  EXPECT_THROW(rollout(std::ref(script), options), Error);
  options = one_episode();
  const Infer narrow = [](const Observation&, const InferOptions&, Chunk& chunk) {
    chunk.horizon = 16, chunk.width = 7;
    chunk.actions.assign(16 * 7, 0);
    return Status();
  };
  EXPECT_THROW(rollout(narrow, options), Error);
  const Infer broken = [](const Observation&, const InferOptions&, Chunk&) {
    return Status("no device");
  };
  EXPECT_THROW(rollout(broken, options), Error);
}

TEST(Rollout, RecordsASheetAndAnAnimation) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "tendon_record";
  std::filesystem::create_directories(folder);
  for (const char* name : {"sheet.png", "film.gif"}) {
    Scripted script(3);
    Recording recording((folder / name).string());
    RolloutOptions options = one_episode();
    options.recording = &recording;
    rollout(std::ref(script), options);
    EXPECT_GT(std::filesystem::file_size(folder / name), 5000u);
  }
  const Picture sheet = read_png((folder / "sheet.png").string());
  EXPECT_EQ(sheet.width, 6 * 150 + 6);
  EXPECT_THROW(Recording("film.mp4"), Error);
  std::filesystem::remove_all(folder);
}

TEST(ChunkPlayer, LetsTheOldChunkRunUntilTheNewOneArrives) {
  ChunkPlayer player({-1});
  Chunk chunk;
  chunk.horizon = 4, chunk.width = 1;
  chunk.actions = {0, 1, 2, 3};
  player.submit(chunk, 0, 1);
  EXPECT_EQ(*player.at(0), -1);
  EXPECT_EQ(*player.at(1), 1);
  chunk.actions = {20, 21, 22, 23};
  player.submit(chunk, 2, 4);
  EXPECT_EQ(*player.at(2), 2);
  EXPECT_EQ(*player.at(3), 3);
  EXPECT_EQ(*player.at(4), 22);
  EXPECT_EQ(*player.at(9), 23);
}

TEST(Interval, IsClopperAndPearsons) {
  const Interval all = confidence(200, 200), none = confidence(0, 100), half = confidence(50, 100);
  EXPECT_NEAR(all.low, 0.981725, 1e-5);
  EXPECT_EQ(all.high, 1);
  EXPECT_NEAR(none.high, 0.036217, 1e-5);
  EXPECT_NEAR(half.low, 0.398321, 1e-5);
  EXPECT_NEAR(half.high, 0.601679, 1e-5);
}

}  // namespace
}  // namespace tendon::sim
