#include "sim/episode.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <set>

#include "sim/random.h"

namespace tendon::sim {
namespace {

TEST(Random, GivesTheRecordedNumbers) {
  Random random(7, 11);
  EXPECT_EQ(random.next(), 12020285470980274193u);
  EXPECT_EQ(random.next(), 1653031602953341610u);
}

TEST(Random, NormalHasItsDeviation) {
  Random random(1, 2);
  double sum = 0, squares = 0;
  for (int i = 0; i < 20000; ++i) {
    const double value = random.normal(0.5);
    sum += value, squares += value * value;
  }
  EXPECT_NEAR(sum / 20000, 0, 0.015);
  EXPECT_NEAR(std::sqrt(squares / 20000), 0.5, 0.015);
}

TEST(Episode, IsDrawnInsideTheTasksBounds) {
  for (int number = 0; number < 300; ++number) {
    const Episode episode = draw_episode({}, 5, number);
    std::set<int> colours;
    for (int i = 0; i < kCubes; ++i) {
      const Episode::Cube& cube = episode.cubes[i];
      const double radius = std::hypot(cube.x, cube.y);
      EXPECT_TRUE(radius >= 0.20 && radius <= 0.34) << radius;
      EXPECT_LE(std::abs(std::atan2(cube.y, cube.x)), 0.85);
      colours.insert(cube.colour);
      for (int j = 0; j < i; ++j) {
        EXPECT_GT(std::hypot(cube.x - episode.cubes[j].x, cube.y - episode.cubes[j].y), 0.085);
      }
    }
    EXPECT_EQ(colours.size(), 3u);
    EXPECT_TRUE(episode.target >= 0 && episode.target < kCubes);
    const Vec3 tip = grasp_point(episode.joints);
    EXPECT_TRUE(tip[2] >= 0.15 && tip[2] <= 0.21) << tip[2];
    EXPECT_EQ(episode.opening, 1);
  }
}

TEST(Episode, IsTheSameForTheSameNumberAndAnotherForAnother) {
  const Episode a = draw_episode({.start = Start::wild}, 1, 4),
                b = draw_episode({.start = Start::wild}, 1, 4);
  const Episode c = draw_episode({.start = Start::wild}, 1, 5),
                d = draw_episode({.start = Start::wild}, 2, 4);
  EXPECT_EQ(a.joints, b.joints);
  EXPECT_EQ(a.cubes[2].x, b.cubes[2].x);
  EXPECT_NE(a.cubes[0].x, c.cubes[0].x);
  EXPECT_NE(a.cubes[0].x, d.cubes[0].x);
}

// Nothing stands before `cube`, seen from the arm.
bool way_is_free(const Episode& episode, int cube) {
  const Episode::Cube& pushed = episode.cubes[cube];
  const double angle = std::atan2(pushed.y, pushed.x), radius = std::hypot(pushed.x, pushed.y);
  for (int i = 0; i < kCubes; ++i) {
    const Episode::Cube& other = episode.cubes[i];
    const double outwards = other.x * std::cos(angle) + other.y * std::sin(angle);
    const double aside = std::abs(other.y * std::cos(angle) - other.x * std::sin(angle));
    if (i != cube && outwards > radius && aside < 0.06) return false;
  }
  return true;
}

TEST(Episode, TheTaskOfManyVerbsStartsFoldedAndLeavesAPushItsWay) {
  std::array<int, 3> verbs = {};
  for (int number = 0; number < 200; ++number) {
    const Episode episode = draw_episode({.task = Task::blocks}, 1, number);
    ++verbs[static_cast<int>(episode.verb)];
    const double hand = episode.joints[1] + episode.joints[2] + episode.joints[3];
    EXPECT_LT(hand, 1.01);  // from straight up
    EXPECT_EQ(episode.base >= 0, episode.verb == Verb::stack);
    EXPECT_NE(episode.base, episode.target);
    EXPECT_TRUE(episode.verb != Verb::push || way_is_free(episode, episode.target)) << number;
  }
  for (const int count : verbs) EXPECT_GT(count, 40);
  const Episode told = draw_episode({.task = Task::blocks, .verb = Verb::stack}, 1, 0);
  EXPECT_EQ(told.verb, Verb::stack);
}

TEST(Episode, APushOfAnotherCubeHasItsWayFreeToo) {
  int same = 0;
  for (int number = 0; number < 200; ++number) {
    const Setting alone = {.task = Task::blocks, .verb = Verb::push};
    Setting both = alone;
    both.other_named = true;
    const Episode drawn = draw_episode(both, 1, number), usual = draw_episode(alone, 1, number);
    EXPECT_TRUE(way_is_free(drawn, drawn.target)) << number;
    EXPECT_TRUE(way_is_free(drawn, other_cube(drawn, number))) << number;
    same += drawn.cubes[0].x == usual.cubes[0].x;
  }
  EXPECT_TRUE(same > 60 && same < 200) << same;
}

TEST(Episode, DyeingKeepsTheColoursApart) {
  Episode episode = draw_episode({}, 1, 0);
  const int first = episode.cubes[0].colour, second = episode.cubes[1].colour;
  dye(episode, 0, second);
  EXPECT_EQ(episode.cubes[0].colour, second);
  EXPECT_EQ(episode.cubes[1].colour, first);
}

}  // namespace
}  // namespace tendon::sim
