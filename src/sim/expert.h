// The teacher: does the episode's task from any state, knowing where everything is.
#pragma once

#include "sim/world.h"

namespace tendon::sim {

// A function of the present state only, so that it has a right answer in every state of the data.
Command expert_command(const World& world, const Episode& episode);

}  // namespace tendon::sim
