// What stands between a robot's vectors and the model's: joint signs, grippers, rotations, deltas.
#pragma once

#include <array>
#include <span>

#include "preprocess/contract.h"

namespace tendon {

// Unit quaternion x y z w -> rotation vector. fp64: zero only where w is exactly +-1. No canonical
// sign, so lengths reach 2 pi.
std::array<double, 3> rotation_vector(std::span<const double, 4> q) noexcept;
// LeRobot's: fp32, zero where sin(angle / 2) <= 1e-10.
std::array<double, 3> rotation_vector_f32(std::span<const double, 4> q) noexcept;

// ALOHA's gripper: linear opening in [0,1] -> the angle that pi models know, and their angle ->
// command.
double aloha_gripper_in(double opening) noexcept;
double aloha_gripper_out(double angle) noexcept;
double aloha_gripper_out_inverse(double command) noexcept;

// Robot units -> the space that statistics and deltas live in, in place.
void adapt_state(const RobotRules& rules, std::span<double> state) noexcept;

// One row of unnormalised actions -> the robot's, in place: deltas become absolute by adding
// `state` (in the adapted space), then signs and grippers.
void to_robot_action(const RobotRules& rules, std::span<const double> state,
                     std::span<double> action) noexcept;
// The inverse; a binarised gripper becomes the end of the data's range that it stands for.
void from_robot_action(const RobotRules& rules, std::span<const double> state,
                       std::span<double> action) noexcept;

}  // namespace tendon
