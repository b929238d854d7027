#include "sim/kinematics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "sim/random.h"
#include "sim/world.h"

namespace tendon::sim {
namespace {

TEST(Kinematics, InverseLeadsBackToThePointWithTheHandStraightDown) {
  Random random(1, 0);
  for (int i = 0; i < 200; ++i) {
    const Vec3 point =
        around_base(random.uniform(0.16, 0.36), random.uniform(-1, 1), random.uniform(0.02, 0.24));
    const Joints joints = joints_at(point);
    EXPECT_LT(distance(grasp_point(joints), point), 1e-12);
    EXPECT_NEAR(joints[1] + joints[2] + joints[3], std::numbers::pi, 1e-12);
  }
}

TEST(Kinematics, APointOutOfReachGivesTheStretchedArm) {
  const Joints joints = joints_at({0.9, 0, 0.04});
  for (const double angle : joints) EXPECT_TRUE(std::isfinite(angle));
  EXPECT_LT(joints[2], 0.15);
}

TEST(Kinematics, AgreesWithThePhysics) {
  World world;
  for (int number = 0; number < 20; ++number) {
    const Episode episode = draw_episode({.start = Start::wild}, 3, number);
    world.reset(episode);
    EXPECT_LT(distance(grasp_point(episode.joints), world.tip()), 1e-9) << number;
  }
}

}  // namespace
}  // namespace tendon::sim
