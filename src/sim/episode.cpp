#include "sim/episode.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "sim/random.h"

namespace tendon::sim {
namespace {

// Far enough apart for the open gripper (9 cm with its fingers) to pass between two cubes.
constexpr double kApart = 0.085;

void place_cubes(Random& random, Episode& episode) {
  int placed = 0;
  while (placed < kCubes) {
    const double radius = random.uniform(0.20, 0.34), angle = random.uniform(-0.85, 0.85);
    const Vec3 at = around_base(radius, angle, 0);
    const bool free = std::none_of(episode.cubes.begin(), episode.cubes.begin() + placed,
                                   [&](const Episode::Cube& cube) {
                                     return std::hypot(at[0] - cube.x, at[1] - cube.y) <= kApart;
                                   });
    if (!free) continue;
    episode.cubes[placed].x = at[0], episode.cubes[placed].y = at[1];
    ++placed;
  }
}

void dye_cubes(Random& random, Episode& episode) {
  std::array<int, kColourNames.size()> colours = {0, 1, 2, 3};
  for (int i = 0; i < kCubes; ++i) {
    const int left = static_cast<int>(colours.size()) - i;
    std::swap(colours[i], colours[i + random.index(left)]);
    episode.cubes[i].colour = colours[i];
    episode.cubes[i].yaw = random.uniform(-std::numbers::pi / 4, std::numbers::pi / 4);
  }
}

void place_arm_anywhere(Random& random, Episode& episode) {
  double radius = random.uniform(0.16, 0.36), angle = random.uniform(-1, 1);
  double height = random.uniform(0.05, 0.24);
  episode.opening = random.uniform();
  if (random.uniform() < 0.35) {  // near some cube, so that the data shows how to leave it
    const Episode::Cube& near = episode.cubes[random.index(kCubes)];
    radius = std::hypot(near.x, near.y) + random.normal(0.02);
    angle = std::atan2(near.y, near.x) + random.normal(0.06);
    height = random.uniform(0.055, 0.12);
  }
  episode.joints = joints_at(around_base(radius, angle, height));
}

// The hand points up and forward: its camera sees the sky until the arm comes down.
void fold_arm(Random& random, Episode& episode) {
  episode.joints = {random.uniform(-0.6, 0.6), random.uniform(-0.6, -0.4), random.uniform(0.9, 1.1),
                    random.uniform(0.1, 0.3)};
}

// No other cube stands where the gripper goes down or in the cube's way outwards.
bool lane_is_free(const Episode& episode, int cube) {
  const Episode::Cube& target = episode.cubes[cube];
  const double radius = std::hypot(target.x, target.y);
  const double ux = target.x / radius, uy = target.y / radius;
  for (int i = 0; i < kCubes; ++i) {
    if (i == cube) continue;
    const double dx = episode.cubes[i].x - target.x, dy = episode.cubes[i].y - target.y;
    const double along = dx * ux + dy * uy, across = std::abs(dy * ux - dx * uy);
    if (along > 0 && across < 0.06) return false;
    if (std::hypot(along + kBehind, across) < 0.05) return false;
  }
  return true;
}

bool ways_are_free(const Setting& setting, const Episode& episode, std::uint64_t number) {
  return lane_is_free(episode, episode.target) &&
         (!setting.other_named || lane_is_free(episode, other_cube(episode, number)));
}

void choose_verb(Random& random, const Setting& setting, std::uint64_t number, Episode& episode) {
  const int drawn = random.index(3);
  episode.verb = setting.verb.value_or(static_cast<Verb>(drawn));
  if (episode.verb == Verb::stack) {
    episode.base = (episode.target + 1 + random.index(2)) % kCubes;
  }
  while (episode.verb == Verb::push && !ways_are_free(setting, episode, number)) {
    place_cubes(random, episode);
    episode.target = random.index(kCubes);
  }
}

}  // namespace

Episode draw_episode(const Setting& setting, std::uint64_t seed, std::uint64_t number) {
  Random random(seed, number);
  Episode episode;
  place_cubes(random, episode);
  dye_cubes(random, episode);
  episode.target = random.index(kCubes);
  if (setting.task == Task::blocks) choose_verb(random, setting, number, episode);
  if (setting.start == Start::wild) {
    place_arm_anywhere(random, episode);
  } else if (setting.task == Task::blocks) {
    fold_arm(random, episode);
  } else {
    const double radius = 0.22 + random.uniform(-0.03, 0.03), angle = random.uniform(-0.35, 0.35);
    episode.joints = joints_at(around_base(radius, angle, 0.18 + random.uniform(-0.03, 0.03)));
  }
  return episode;
}

int other_cube(const Episode& episode, std::uint64_t number) {
  const int first = (episode.target + 1 + static_cast<int>(number % 2)) % kCubes;
  return first == episode.base ? kCubes - episode.target - first : first;
}

int cube_of_colour(const Episode& episode, int colour) {
  for (int i = 0; i < kCubes; ++i) {
    if (episode.cubes[i].colour == colour) return i;
  }
  return -1;
}

void dye(Episode& episode, int cube, int colour) {
  const int owner = cube_of_colour(episode, colour);
  if (owner >= 0) episode.cubes[owner].colour = episode.cubes[cube].colour;
  episode.cubes[cube].colour = colour;
}

}  // namespace tendon::sim
