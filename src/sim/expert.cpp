#include "sim/expert.h"

#include <algorithm>
#include <cmath>

#include "sim/judge.h"

namespace tendon::sim {
namespace {

constexpr double kHover = 0.085;  // above the cube's centre while moving over to it
constexpr double kStep = 0.013;   // metres a tick, horizontally
constexpr double kRise = kStep * 0.8, kSink = kStep * 0.7;
constexpr double kTurn = 0.12;  // rad a tick, so that unfolding the arm takes its time
constexpr double kHeldOpening = kCubeHalf / kFingerTravel;  // fingers closed on a cube
constexpr double kLiftTo = 0.15;
constexpr double kCarry = 2 * kCubeHalf + 0.03;  // of a carried cube's centre over the base's

struct Aim {
  Vec3 goal;
  double gripper;  // 0 closed, 1 open
};

struct Hand {
  Vec3 tip;
  double opening;
};

// Gets above `place`, then down to it inside a cone, once the gripper is as it should be below.
Aim approach(const Hand& hand, const Vec3& place, double gripper) {
  const double off = horizontal_distance(hand.tip, place), above = hand.tip[2] - place[2];
  Vec3 goal = hand.tip;
  if (above <= kHover - 0.035 && off >= 0.012) {  // beside cubes: rise before moving over
    goal[2] = place[2] + kHover;
    return {goal, gripper};
  }
  const bool over = off < 0.006 + 0.25 * std::max(above, 0.0);
  const bool ready = std::abs(hand.opening - gripper) < 0.2;
  goal = {place[0], place[1], 0};
  if (over && ready) {
    goal[2] = place[2] + 0.001;
  } else {
    goal[2] = off > 0.03 ? place[2] + kHover : std::max(hand.tip[2], place[2] + 0.04);
  }
  return {goal, gripper};
}

bool between_fingers(const Hand& hand, const Vec3& cube) {
  return horizontal_distance(hand.tip, cube) < 0.016 && std::abs(hand.tip[2] - cube[2]) < 0.014;
}

bool holds(const Hand& hand, const Vec3& cube) {
  return between_fingers(hand, cube) && hand.opening < kHeldOpening + 0.16 &&
         hand.opening > kHeldOpening - 0.25;
}

Aim pick(const Hand& hand, const Vec3& cube) {
  const Vec3& tip = hand.tip;
  if (holds(hand, cube)) {
    return {{tip[0], tip[1], tip[2] < kLiftTo ? tip[2] + kRise : kLiftTo}, 0};
  }
  const bool between = between_fingers(hand, cube);
  if (between && horizontal_distance(tip, cube) < 0.008 && tip[2] - cube[2] < 0.008) {
    return {{cube[0], cube[1], cube[2] + 0.001}, 0};
  }
  if (between && cube[2] > kCubeHalf + 0.02) return {tip, 0};  // raised and slipping: hold on
  return approach(hand, cube, 1);
}

// Down behind the cube with the gripper closed, then outwards through its centre.
Aim push(const Hand& hand, const Vec3& cube) {
  const Vec3& tip = hand.tip;
  const double radius = std::hypot(cube[0], cube[1]);
  const double ux = cube[0] / radius, uy = cube[1] / radius;
  if (radius > kPushedRadius + 0.012) return {{tip[0], tip[1], 0.12}, 0};
  const double dx = tip[0] - cube[0], dy = tip[1] - cube[1];
  const double along = dx * ux + dy * uy, across = std::abs(dy * ux - dx * uy);
  const bool low = tip[2] < cube[2] + 0.015;
  const bool pressed = cube[2] < kCubeHalf - 0.002;  // the hand came down onto its edge
  if (low && !pressed && along < -0.015 && along > -0.08 && across < 0.012) {
    return {{cube[0], cube[1], kCubeHalf + 0.004}, 0};
  }
  const bool near = horizontal_distance(tip, cube) < 0.03 && tip[2] - cube[2] < 0.04;
  const bool gripped = near && hand.opening > 0.1;  // it slipped between the fingers: leave it here
  return approach(hand, {cube[0] - kBehind * ux, cube[1] - kBehind * uy, cube[2]}, gripped ? 1 : 0);
}

// Carries the held cube over the base and lets it down.
Aim carry(const Hand& hand, const Vec3& cube, const Vec3& base) {
  const Vec3& tip = hand.tip;
  const double off = horizontal_distance(cube, base), above = cube[2] - base[2];
  const Vec3 over = {tip[0] + base[0] - cube[0], tip[1] + base[1] - cube[1], tip[2]};
  if (off > 0.02 && above < kCarry - 0.01) return {{tip[0], tip[1], tip[2] + kRise}, 0};
  const double height =
      off > 0.004 && above > 2 * kCubeHalf + 0.008 ? kCarry : 2 * kCubeHalf - 0.004;
  return {{over[0], over[1], tip[2] + height - above}, 0};
}

Aim stack(const World& world, const Episode& episode, const Hand& hand) {
  const Vec3 cube = world.cube(episode.target), base = world.cube(episode.base);
  if (rests_on(world, episode.target, episode.base)) {  // let go, then up and away
    const bool open = hand.opening > kHeldOpening + 0.2;
    const double top = base[2] + 2 * kCubeHalf + kHover;
    return {{hand.tip[0], hand.tip[1], open ? top : hand.tip[2]}, 1};
  }
  return holds(hand, cube) ? carry(hand, cube, base) : pick(hand, cube);
}

Aim aim_for(const World& world, const Episode& episode, const Hand& hand) {
  switch (episode.verb) {
    case Verb::pick:
      break;
    case Verb::push:
      return push(hand, world.cube(episode.target));
    case Verb::stack:
      return stack(world, episode, hand);
  }
  return pick(hand, world.cube(episode.target));
}

}  // namespace

Command expert_command(const World& world, const Episode& episode) {
  const Joints now = world.joints();
  const Hand hand = {grasp_point(now), world.opening()};
  const Aim aim = aim_for(world, episode, hand);
  Vec3 step = {aim.goal[0] - hand.tip[0], aim.goal[1] - hand.tip[1], aim.goal[2] - hand.tip[2]};
  const double across = std::hypot(step[0], step[1]);
  if (across > kStep) step[0] *= kStep / across, step[1] *= kStep / across;
  step[2] = std::clamp(step[2], -kSink, kRise);
  Joints joints = joints_at({hand.tip[0] + step[0], hand.tip[1] + step[1], hand.tip[2] + step[2]});
  for (int i = 0; i < 4; ++i) joints[i] = std::clamp(joints[i], now[i] - kTurn, now[i] + kTurn);
  return {joints, aim.gripper};
}

}  // namespace tendon::sim
