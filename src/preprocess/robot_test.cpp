#include "preprocess/robot.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/golden.h"

namespace tendon {
namespace {

TEST(Robot, aloha_recorded_gripper) {
  const golden::File file("pi05_cases");
  const auto x = file["host/aloha/gripper_x"].numbers();
  const auto in = file["host/aloha/gripper_in"].numbers(),
             out = file["host/aloha/gripper_out"].numbers();
  for (std::size_t i = 0; i < x.size(); ++i) {
    EXPECT_NEAR(aloha_gripper_in(x[i]), in[i], 1e-12) << x[i];
    EXPECT_NEAR(aloha_gripper_out(x[i]), out[i], 1e-12) << x[i];
    EXPECT_NEAR(aloha_gripper_out_inverse(out[i]), x[i], 1e-12);
  }
  EXPECT_NEAR(aloha_gripper_in(0.25), -0.5130776069, 1e-9);
  EXPECT_NEAR(aloha_gripper_out(1), 1.0267954363, 1e-9);
}

TEST(Robot, TrapT35_deltas_are_added_before_the_signs) {
  RobotRules rules;
  rules.sign = {1, -1};
  rules.delta = {1, 1};
  std::vector<double> state{10, 20}, action{1, 2};
  adapt_state(rules, state);
  EXPECT_EQ(state, (std::vector<double>{10, -20}));
  to_robot_action(rules, state, action);
  EXPECT_EQ(action, (std::vector<double>{11, 18}));  // -( 2 + -20 )
  from_robot_action(rules, state, action);
  EXPECT_EQ(action, (std::vector<double>{1, 2}));
}

TEST(Robot, rotation_vectors_recorded) {
  const golden::File file("fastwam_tiny");
  const auto q = file["host.quat"].numbers(), want = file["host.axisangle"].numbers();
  for (std::size_t r = 0; r < 6; ++r) {
    const auto v = rotation_vector(std::span<const double, 4>(q.data() + 4 * r, 4));
    for (int i = 0; i < 3; ++i) EXPECT_NEAR(v[i], want[3 * r + i], 1e-14) << r;
  }
}

TEST(Robot, rotation_vector_edges) {
  const auto of = [](double x, double y, double z, double w) {
    const double q[4] = {x, y, z, w};
    return rotation_vector(std::span<const double, 4>(q));
  };
  EXPECT_EQ(of(0, 0, 0, 1)[0], 0);
  EXPECT_EQ(of(1, 2, 3, 1.5)[1], 0);  // w is clamped
  EXPECT_NEAR(of(1, 0, 0, 0)[0], M_PI, 1e-12);
  EXPECT_GT(of(0.6, 0, 0, -0.8)[0], M_PI);  // no canonical sign
  EXPECT_GT(of(1e-9, 0, 0, 0.9999999999999998)[0], 0);
  const double tiny[4] = {1e-9, 0, 0, 0.9999999999999998};
  EXPECT_EQ(rotation_vector_f32(std::span<const double, 4>(tiny))[0], 0);  // fp32 sees w = 1
}

TEST(Robot, FastwamTrap34_gripper) {
  const golden::File file("fastwam_tiny");
  const auto in = file["host.gripper.in"].numbers();
  const auto continuous = file["host.gripper.continuous"].numbers();
  const auto binary = file["host.gripper.binary"].numbers();
  RobotRules rules;
  rules.grippers = {0};
  for (std::size_t i = 0; i < in.size(); ++i) {
    std::vector<double> a{in[i]}, b{in[i]};
    rules.gripper = GripperMap::negate;
    to_robot_action(rules, {}, a);
    EXPECT_NEAR(a[0], continuous[i], 1e-6);
    rules.gripper = GripperMap::negate_binary;
    to_robot_action(rules, {}, b);
    EXPECT_EQ(b[0], binary[i]);
  }
  std::vector<double> open{0.9}, closed{0.1}, between{0.5};
  to_robot_action(rules, {}, open);
  to_robot_action(rules, {}, closed);
  to_robot_action(rules, {}, between);
  EXPECT_EQ(open[0], -1);
  EXPECT_EQ(closed[0], 1);
  EXPECT_EQ(between[0], 0);
}

}  // namespace
}  // namespace tendon
