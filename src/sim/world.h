// The simulated robot and its table in MuJoCo, one control tick at a time.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "sim/episode.h"
#include "sim/ray_caster.h"

namespace tendon::sim {

inline constexpr double kControlHz = 20;
inline constexpr int kStateWidth = 5;
inline constexpr int kBaseCamera = 0, kWristCamera = 1, kCameras = 2;
inline constexpr int kGeoms = 11;

// What a control tick asks of the arm; values beyond the actuators' ranges are cut to them.
struct Command {
  Joints joints = {};  // targets, radians
  double gripper = 1;  // 0 closed, 1 open
};

// Owns a MuJoCo model and its state. One thread at a time. Throws Error where MuJoCo refuses.
class World {
 public:
  World();
  ~World();
  World(World&&) noexcept;
  World& operator=(World&&) noexcept;

  void reset(const Episode& episode);
  void step(const Command& command);  // one control tick, 50 ms

  Joints joints() const;
  double opening() const;      // of the gripper, 0..1
  Vec3 tip() const;            // the grasp point as MuJoCo has it
  Vec3 cube(int index) const;  // its centre
  // The cube whose centre is more than 5 cm above rest and less than 3 cm from the grasp point, so
  // that a cube thrown up does not count; -1: none.
  int held_up() const;

  // What the cameras see, in MuJoCo's order of geoms; the cubes are coloured per episode.
  const std::vector<Box>& boxes();
  View view(int camera) const;

  // For tests: a cube's centre put at `at`, at rest, turned to the axes.
  void place_cube(int index, const Vec3& at);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The scene's light.
const Light& scene_light();

// MuJoCo's version, "3.3.7".
const char* physics_version();

}  // namespace tendon::sim
