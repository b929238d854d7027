// When a task counts as done, and for which cube.
#pragma once

#include "sim/world.h"

namespace tendon::sim {

// What has happened to which cube; -1: nothing has.
struct Deed {
  int cube = -1;
  int base = -1;  // stack: the cube beneath
  bool operator==(const Deed&) const = default;
};

// pick: a cube is held up (World::held_up). push: a cube lies beyond kPushedRadius. stack: a cube
// rests on another and the gripper is away. One look; a deed counts once it lasts kLastingTicks.
Deed look_for(Verb verb, const World& world);

inline constexpr int kLastingTicks = 4;

// `upper` rests on `lower`.
bool rests_on(const World& world, int upper, int lower);

}  // namespace tendon::sim
