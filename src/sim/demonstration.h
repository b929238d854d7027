// One episode of the expert, disturbed so that the data shows how to recover.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sim/pilot.h"

namespace tendon::sim {

// What is kept of a frame, as rows of floats.
enum Field {
  kPositions,  // [geoms, 3]
  kRotations,  // [geoms, 3, 3]
  kColours,    // [geoms, 3]
  kViews,      // [cameras, 12]: position, rotation
  kState,      // joints, gripper opening
  kAction,     // the undisturbed expert's: joint targets, gripper
  kTarget,   // the named cube's centre: from the grasp point in the hand's frame, and in the world
  kEpisode,  // number, index into all_prompts()
  kFields
};
inline constexpr std::array<std::string_view, kFields> kFieldNames = {
    "positions", "rotations", "colours", "views", "state", "action", "target", "episode"};
inline constexpr std::array<int, kFields> kFieldWidths = {3 * kGeoms, 9 * kGeoms, 3 * kGeoms, 24,
                                                          5,          5,          6,          2};

struct Demonstration {
  int frames = 0;
  bool succeeded = false;                          // did what was told
  std::array<std::vector<float>, kFields> fields;  // [frames, width]
};

// Every prompt of the data: the task's wordings in each colour.
std::vector<std::string> all_prompts(Task task);

struct DataSetting {
  Task task = Task::pick_block;
  std::uint64_t seed = 0;
  double table_speed = 0;
  std::optional<Verb> verb = {};  // none: the task's in turn
  // Drives first, where there is one: the expert takes over at some tick, and what is kept begins
  // there, nothing where it then fails. Not owned.
  const Infer* leader = nullptr;
};

// Episode `number`: 4 in 10 start where policies are judged, the others anywhere; every second one
// is pushed about. With a leader all start where policies are judged.
Demonstration demonstrate(World& world, const DataSetting& setting, std::uint64_t number);

}  // namespace tendon::sim
