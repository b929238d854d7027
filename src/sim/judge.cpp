#include "sim/judge.h"

#include <cmath>

namespace tendon::sim {
namespace {

constexpr double kAway = 0.04;  // grasp point from the cube's centre, metres

Deed pushed(const World& world) {
  for (int i = 0; i < kCubes; ++i) {
    const Vec3 at = world.cube(i);
    if (std::hypot(at[0], at[1]) > kPushedRadius && at[2] < kCubeHalf + 0.01) return {i, -1};
  }
  return {};
}

Deed stacked(const World& world) {
  for (int upper = 0; upper < kCubes; ++upper) {
    for (int lower = 0; lower < kCubes; ++lower) {
      if (upper == lower || !rests_on(world, upper, lower)) continue;
      if (distance(world.tip(), world.cube(upper)) > kAway) return {upper, lower};
    }
  }
  return {};
}

}  // namespace

bool rests_on(const World& world, int upper, int lower) {
  const Vec3 above = world.cube(upper), below = world.cube(lower);
  return horizontal_distance(above, below) < 0.018 &&
         std::abs(above[2] - below[2] - 2 * kCubeHalf) < 0.005;
}

Deed look_for(Verb verb, const World& world) {
  switch (verb) {
    case Verb::pick:
      return {world.held_up(), -1};
    case Verb::push:
      return pushed(world);
    case Verb::stack:
      return stacked(world);
  }
  return {};
}

}  // namespace tendon::sim
