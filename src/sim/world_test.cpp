#include "sim/world.h"

#include <gtest/gtest.h>

#include <cmath>

#include "sim/expert.h"
#include "sim/judge.h"

namespace tendon::sim {
namespace {

// Ticks until the expert holds the target up; 0: never.
int expert_ticks(World& world, const Episode& episode) {
  world.reset(episode);
  for (int tick = 1; tick <= 160; ++tick) {
    world.step(expert_command(world, episode));
    const int held = world.held_up();
    if (held >= 0) return held == episode.target ? tick : 0;
  }
  return 0;
}

TEST(World, TheExpertPicksUpTheTarget) {
  World world;
  int total = 0;
  for (int number = 0; number < 30; ++number) {
    const Start start = number % 3 == 2 ? Start::wild : Start::normal;
    const int ticks = expert_ticks(world, draw_episode({.start = start}, 9, number));
    EXPECT_GT(ticks, 0) << number;
    total += ticks;
  }
  EXPECT_LT(total / 30, 45);
}

TEST(World, TheExpertPicksUpFromAMovingTable) {
  World world;
  for (int number = 0; number < 10; ++number) {
    Episode episode = draw_episode({}, 10, number);
    episode.table_speed = 0.04;
    EXPECT_GT(expert_ticks(world, episode), 0) << number;
  }
}

// Ticks until the expert has done what the episode asks for, with the right cube; 0: never.
int deed_ticks(World& world, const Episode& episode) {
  world.reset(episode);
  int lasted = 0;
  for (int tick = 1; tick <= 200; ++tick) {
    world.step(expert_command(world, episode));
    const Deed deed = look_for(episode.verb, world);
    lasted = deed == Deed{episode.target, episode.base} ? lasted + 1 : 0;
    if (deed.cube >= 0 && lasted == 0) return 0;
    if (lasted == kLastingTicks) return tick;
  }
  return 0;
}

TEST(World, TheExpertUnfoldsTheArmAndDoesWhatTheVerbSays) {
  World world;
  for (const Verb verb : {Verb::pick, Verb::push, Verb::stack}) {
    int total = 0;
    for (int number = 0; number < 12; ++number) {
      const Episode episode = draw_episode({.task = Task::blocks, .verb = verb}, 2, number);
      const int ticks = deed_ticks(world, episode);
      EXPECT_GT(ticks, 0) << static_cast<int>(verb) << " " << number;
      total += ticks;
    }
    EXPECT_LT(total / 12, 140) << static_cast<int>(verb);
  }
}

TEST(World, ACubeHeldOverAnotherIsNotStacked) {
  World world;
  world.reset(draw_episode({}, 9, 0));
  const Vec3 base = world.cube(0);
  const Vec3 top = {base[0], base[1], base[2] + 2 * kCubeHalf};
  world.place_cube(1, top);
  EXPECT_EQ(look_for(Verb::stack, world), (Deed{1, 0}));
  world.place_cube(1, {top[0], top[1], top[2] + 0.01});
  EXPECT_EQ(look_for(Verb::stack, world), Deed{});
}

TEST(World, TheTableCarriesItsCubesAtConstantSpeed) {
  World world;
  Episode episode = draw_episode({}, 10, 1);
  episode.table_speed = 0.04;
  world.reset(episode);
  const Vec3 before = world.cube(episode.target);
  for (int tick = 0; tick < 20; ++tick) world.step({episode.joints, 1});
  const Vec3 after = world.cube(episode.target);
  const double expected = before[1] > 0 ? -0.04 : 0.04;
  EXPECT_NEAR(after[1] - before[1], expected, 1e-3);
  EXPECT_NEAR(after[0], before[0], 1e-4);
}

TEST(World, AThrownCubeIsNotHeldUp) {
  World world;
  const Episode episode = draw_episode({}, 9, 0);
  world.reset(episode);
  EXPECT_EQ(world.held_up(), -1);
  const Vec3 tip = world.tip();
  world.place_cube(1, {tip[0], tip[1] + 0.05, tip[2]});
  EXPECT_EQ(world.held_up(), -1);
  world.place_cube(1, tip);
  EXPECT_EQ(world.held_up(), 1);
}

TEST(World, StepsToTheSameBitsAfterAReset) {
  World first, second;
  const Episode episode = draw_episode({}, 9, 4);
  expert_ticks(first, draw_episode({.start = Start::wild}, 9, 5));
  EXPECT_EQ(expert_ticks(first, episode), expert_ticks(second, episode));
  EXPECT_EQ(first.joints(), second.joints());
  for (int i = 0; i < kCubes; ++i) EXPECT_EQ(first.cube(i), second.cube(i));
}

}  // namespace
}  // namespace tendon::sim
