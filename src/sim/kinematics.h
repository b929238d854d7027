// Where the gripper is for given joint angles, and back.
#pragma once

#include <array>

namespace tendon::sim {

using Vec3 = std::array<double, 3>;    // metres, world frame: x away from the pedestal, z up
using Joints = std::array<double, 4>;  // yaw, shoulder, elbow, wrist pitch; radians

inline constexpr double kLink = 0.22;  // upper arm and forearm
inline constexpr double kHand = 0.10;  // wrist axis to the grasp point
inline constexpr double kShoulderHeight = 0.14;
inline constexpr double kFingerTravel = 0.036;  // of each finger, metres
inline constexpr double kCubeHalf = 0.018;

// The point between the finger tips.
Vec3 grasp_point(const Joints& joints);

// Joint angles that bring the grasp point to `point` with the hand straight down; a point out of
// reach gives the nearest the arm can do along that line.
Joints joints_at(const Vec3& point);

// Cylinder coordinates about the arm's yaw axis.
Vec3 around_base(double radius, double angle, double height);

double horizontal_distance(const Vec3& a, const Vec3& b);
double distance(const Vec3& a, const Vec3& b);

}  // namespace tendon::sim
