// Numbered starting scenes of the pick-a-block task.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "sim/kinematics.h"

namespace tendon::sim {

inline constexpr int kCubes = 3;
inline constexpr std::array<std::string_view, 4> kColourNames = {"red", "green", "blue", "yellow"};

// Where an episode starts.
enum class Start {
  normal,  // gripper open above the workspace: what policies are judged on
  wild,    // anywhere above the table, any gripper opening, often near a cube: for training data
};

struct Episode {
  struct Cube {
    double x = 0, y = 0, yaw = 0;
    int colour = 0;  // index into kColourNames; the three differ
  };
  std::array<Cube, kCubes> cubes;
  int target = 0;  // the cube the task is about
  Joints joints = {};
  double opening = 1;  // of the gripper, 0..1
  double table_speed =
      0;  // m/s; table and cubes slide across, the target's side towards the middle
};

// Episode `number` of `seed`: the same with every compiler.
Episode draw_episode(std::uint64_t seed, std::uint64_t number, Start start);

// The first colour of kColourNames that stands in `text` as a word; -1: none.
int colour_in(std::string_view text);

// Which cube has `colour`; -1: none.
int cube_of_colour(const Episode& episode, int colour);

}  // namespace tendon::sim
