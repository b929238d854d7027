// The simulated robot's scene as MuJoCo reads it: an arm with a gripper, three cubes, a table on a
// slide.
#pragma once

namespace tendon::sim {

// Every geom is a box and every light is flat, so that a small ray caster reproduces the picture.
extern const char* const kSceneMjcf;

}  // namespace tendon::sim
