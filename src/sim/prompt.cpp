#include "sim/prompt.h"

namespace tendon::sim {
namespace {

int absent_colour(const Episode& episode) {
  int colour = 0;
  while (cube_of_colour(episode, colour) >= 0) ++colour;
  return colour;
}

bool holds(std::string_view text, std::string_view place) {
  return text.find(place) != std::string_view::npos;
}

}  // namespace

std::string filled(std::string_view wording, std::string_view place, std::string_view word) {
  std::string text(wording);
  return text.replace(text.find(place), place.size(), word);
}

Instruction instruct(Episode& episode, std::string_view wording, int number) {
  if (holds(wording, "{colour}")) {
    return {filled(wording, "{colour}", kColourNames[episode.cubes[episode.target].colour]),
            episode.target};
  }
  if (holds(wording, "{other}")) {
    const int other = (episode.target + 1 + number % 2) % kCubes;
    return {filled(wording, "{other}", kColourNames[episode.cubes[other].colour]), other};
  }
  if (holds(wording, "{absent}")) {
    return {filled(wording, "{absent}", kColourNames[absent_colour(episode)]), -1};
  }
  const int colour = colour_in(wording);
  if (colour >= 0) {
    const int cube = cube_of_colour(episode, colour);
    if (cube >= 0) episode.target = cube;
    episode.cubes[episode.target].colour = colour;
  }
  return {std::string(wording), episode.target};
}

}  // namespace tendon::sim
