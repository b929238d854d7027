#include "sim/expert.h"

#include <algorithm>
#include <cmath>

namespace tendon::sim {
namespace {

constexpr double kHover = 0.085;  // above the cube's centre while moving over to it
constexpr double kStep = 0.013;   // metres a tick, horizontally
constexpr double kRise = kStep * 0.8, kSink = kStep * 0.7;
constexpr double kHeldOpening = kCubeHalf / kFingerTravel;  // fingers closed on a cube
constexpr double kLiftTo = 0.15;

struct Aim {
  Vec3 goal;
  double gripper;
};

// Not yet between the fingers: open, get above the cube, then down inside a cone.
Aim approach(const Vec3& tip, const Vec3& cube, double opening) {
  const double off = horizontal_distance(tip, cube), above = tip[2] - cube[2];
  Vec3 goal = tip;
  if (above <= kHover - 0.035 && off >= 0.012) {  // beside cubes: rise before moving over
    goal[2] = cube[2] + kHover;
    return {goal, 1};
  }
  const bool over = off < 0.006 + 0.25 * std::max(above, 0.0);
  goal = {cube[0], cube[1], 0};
  if (over && opening > 0.80) {
    goal[2] = cube[2] + 0.001;
  } else {
    goal[2] = off > 0.03 ? cube[2] + kHover : std::max(tip[2], cube[2] + 0.04);
  }
  return {goal, 1};
}

Aim aim_at(const Vec3& tip, const Vec3& cube, double opening) {
  const double off = horizontal_distance(tip, cube), above = tip[2] - cube[2];
  const bool between = off < 0.016 && std::abs(above) < 0.014;
  const bool closed_on_it = opening < kHeldOpening + 0.16 && opening > kHeldOpening - 0.25;
  if (between && closed_on_it) {
    return {{tip[0], tip[1], tip[2] < kLiftTo ? tip[2] + kRise : kLiftTo}, 0};
  }
  if (between && off < 0.008 && above < 0.008) {
    return {{cube[0], cube[1], cube[2] + 0.001}, 0};
  }
  if (between && cube[2] > kCubeHalf + 0.02) return {tip, 0};  // raised and slipping: hold on
  return approach(tip, cube, opening);
}

}  // namespace

Command expert_command(const World& world, int target) {
  const Vec3 tip = grasp_point(world.joints());
  const Aim aim = aim_at(tip, world.cube(target), world.opening());
  Vec3 step = {aim.goal[0] - tip[0], aim.goal[1] - tip[1], aim.goal[2] - tip[2]};
  const double across = std::hypot(step[0], step[1]);
  if (across > kStep) step[0] *= kStep / across, step[1] *= kStep / across;
  step[2] = std::clamp(step[2], -kSink, kRise);
  return {joints_at({tip[0] + step[0], tip[1] + step[1], tip[2] + step[2]}), aim.gripper};
}

}  // namespace tendon::sim
