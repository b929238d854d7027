#include "sim/episode.h"

#include <algorithm>
#include <cctype>
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

}  // namespace

Episode draw_episode(std::uint64_t seed, std::uint64_t number, Start start) {
  Random random(seed, number);
  Episode episode;
  place_cubes(random, episode);
  dye_cubes(random, episode);
  episode.target = random.index(kCubes);
  if (start == Start::wild) {
    place_arm_anywhere(random, episode);
  } else {
    const double radius = 0.22 + random.uniform(-0.03, 0.03), angle = random.uniform(-0.35, 0.35);
    episode.joints = joints_at(around_base(radius, angle, 0.18 + random.uniform(-0.03, 0.03)));
  }
  return episode;
}

int colour_in(std::string_view text) {
  const auto letter = [&](std::size_t i) {
    return i < text.size() && std::isalpha(static_cast<unsigned char>(text[i])) != 0;
  };
  std::size_t first = text.size();
  int found = -1;
  for (int colour = 0; colour < static_cast<int>(kColourNames.size()); ++colour) {
    const std::string_view name = kColourNames[colour];
    for (std::size_t at = text.find(name); at < first; at = text.find(name, at + 1)) {
      if ((at > 0 && letter(at - 1)) || letter(at + name.size())) continue;
      first = at, found = colour;
    }
  }
  return found;
}

int cube_of_colour(const Episode& episode, int colour) {
  for (int i = 0; i < kCubes; ++i) {
    if (episode.cubes[i].colour == colour) return i;
  }
  return -1;
}

}  // namespace tendon::sim
