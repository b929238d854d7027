// Numbered starting scenes of the tasks.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "sim/kinematics.h"

namespace tendon::sim {

inline constexpr int kCubes = 3;
inline constexpr std::array<std::string_view, 4> kColourNames = {"red", "green", "blue", "yellow"};

enum class Task {
  pick_block,  // pick up one of three blocks; the arm starts above them
  blocks,      // pick up, push away, put on another; the arm starts folded, its camera to the sky
};
enum class Verb { pick, push, stack };

// Where an episode starts.
enum class Start {
  normal,  // the task's own pose, gripper open: what policies are judged on
  wild,    // anywhere above the table, any gripper opening, often near a cube: for training data
};

struct Episode {
  struct Cube {
    double x = 0, y = 0, yaw = 0;
    int colour = 0;  // index into kColourNames; the three differ
  };
  std::array<Cube, kCubes> cubes;
  Verb verb = Verb::pick;
  int target = 0;  // the cube the task is about
  int base = -1;   // stack: the cube it goes onto
  Joints joints = {};
  double opening = 1;  // of the gripper, 0..1
  double table_speed =
      0;  // m/s; table and cubes slide across, the target's side towards the middle
};

struct Setting {
  Task task = Task::pick_block;
  Start start = Start::normal;
  std::optional<Verb> verb = {};  // none: one of the task's
  bool other_named = false;       // the prompt will name other_cube(): its way is free as well
};

// Episode `number` of `seed`: the same with every compiler.
Episode draw_episode(const Setting& setting, std::uint64_t seed, std::uint64_t number);

// A pushed cube is to end up this far from the arm's axis.
inline constexpr double kPushedRadius = 0.385;
// Where the closed gripper goes down to push: this far before the cube's centre.
inline constexpr double kBehind = 0.052;

// The cube that a prompt of episode `number` names instead of the target: not the base.
int other_cube(const Episode& episode, std::uint64_t number);

// Which cube has `colour`; -1: none.
int cube_of_colour(const Episode& episode, int colour);

// Gives `cube` the colour; a cube that had it takes the other's in return.
void dye(Episode& episode, int cube, int colour);

}  // namespace tendon::sim
