#include "sim/prompt.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace tendon::sim {
namespace {

constexpr std::array<std::string_view, 6> kPick = {
    "pick up the {colour} block", "lift the {colour} block",   "grab the {colour} block",
    "take the {colour} cube",     "pick up the {colour} cube", "lift the {colour} cube"};
constexpr std::array<std::string_view, 4> kPush = {
    "push the {colour} block away", "shove the {colour} block away", "push the {colour} cube away",
    "shove the {colour} cube away"};
constexpr std::array<std::string_view, 4> kStack = {
    "put the {colour} block on the {base} block", "place the {colour} block on the {base} block",
    "put the {colour} cube on the {base} cube", "stack the {colour} cube on the {base} cube"};

bool holds(std::string_view text, std::string_view place) {
  return text.find(place) != std::string_view::npos;
}

int absent_colour(const Episode& episode) {
  int colour = 0;
  while (cube_of_colour(episode, colour) >= 0) ++colour;
  return colour;
}

std::string_view colour_of(const Episode& episode, int cube) {
  return kColourNames[episode.cubes[cube].colour];
}

}  // namespace

std::span<const std::string_view> wordings(Verb verb) {
  switch (verb) {
    case Verb::pick:
      break;
    case Verb::push:
      return kPush;
    case Verb::stack:
      return kStack;
  }
  return kPick;
}

Verb verb_in(std::string_view text) {
  if (holds(text, "push") || holds(text, "shove")) return Verb::push;
  const bool two = holds(text, "{base}") || colours_in(text).size() > 1;
  return two && holds(text, " on the ") ? Verb::stack : Verb::pick;
}

bool names_another(std::string_view wording) { return holds(wording, "{other}"); }

std::vector<int> colours_in(std::string_view text) {
  std::vector<int> found;
  const auto letter = [](char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; };
  for (auto begin = text.begin(); begin != text.end();) {
    begin = std::find_if(begin, text.end(), letter);
    const auto end = std::find_if_not(begin, text.end(), letter);
    const auto name =
        std::find(kColourNames.begin(), kColourNames.end(), std::string_view(begin, end));
    if (name != kColourNames.end()) found.push_back(static_cast<int>(name - kColourNames.begin()));
    begin = end;
  }
  return found;
}

std::string filled(std::string_view wording, std::string_view place, std::string_view word) {
  std::string text(wording);
  const std::size_t at = text.find(place);
  return at == std::string::npos ? text : text.replace(at, place.size(), word);
}

Instruction instruct(Episode& episode, std::string_view wording, int number) {
  Instruction told = {std::string(wording), episode.target};
  const std::vector<int> colours = colours_in(wording);
  if (!colours.empty()) dye(episode, episode.target, colours[0]);
  if (colours.size() > 1 && episode.base >= 0) dye(episode, episode.base, colours[1]);
  if (names_another(wording)) told.named = other_cube(episode, number);
  if (holds(wording, "{absent}")) told.named = -1;
  told.text = filled(told.text, "{colour}", colour_of(episode, episode.target));
  told.text = filled(told.text, "{absent}", kColourNames[absent_colour(episode)]);
  if (told.named >= 0) told.text = filled(told.text, "{other}", colour_of(episode, told.named));
  if (episode.base >= 0) told.text = filled(told.text, "{base}", colour_of(episode, episode.base));
  return told;
}

}  // namespace tendon::sim
