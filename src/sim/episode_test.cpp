#include "sim/episode.h"

#include <gtest/gtest.h>

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
    const Episode episode = draw_episode(5, number, Start::normal);
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
  const Episode a = draw_episode(1, 4, Start::wild), b = draw_episode(1, 4, Start::wild);
  const Episode c = draw_episode(1, 5, Start::wild), d = draw_episode(2, 4, Start::wild);
  EXPECT_EQ(a.joints, b.joints);
  EXPECT_EQ(a.cubes[2].x, b.cubes[2].x);
  EXPECT_NE(a.cubes[0].x, c.cubes[0].x);
  EXPECT_NE(a.cubes[0].x, d.cubes[0].x);
}

TEST(Episode, FindsTheColourAPromptNames) {
  EXPECT_EQ(colour_in("pick up the green block"), 1);
  EXPECT_EQ(colour_in("the blue one, not the red"), 2);
  EXPECT_EQ(colour_in("a scared redhead greenish"), -1);
  EXPECT_EQ(colour_in("red"), 0);
  EXPECT_EQ(colour_in(""), -1);
}

}  // namespace
}  // namespace tendon::sim
