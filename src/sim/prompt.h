// What a prompt asks for.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/episode.h"

namespace tendon::sim {

// The wordings that policies of a task are trained with, {colour} for the target's colour and
// {base} for the one it goes onto. Valid for ever.
std::span<const std::string_view> wordings(Verb verb);

// What the words tell to do: "push" and "shove" push, one block "on the" other puts; anything else
// picks up.
Verb verb_in(std::string_view text);

// Whether instruct() will name other_cube().
bool names_another(std::string_view wording);

// The colours of kColourNames that stand in `text` as words, in order.
std::vector<int> colours_in(std::string_view text);

// The wording with `place` replaced, where it stands.
std::string filled(std::string_view wording, std::string_view place, std::string_view word);

struct Instruction {
  std::string text;
  int named = -1;  // cube; -1: a colour that is not on the table
};

// Fills the wording's {colour}, {other} or {absent}, and {base}, from the episode; `number` picks
// between two others. Colours in plain words dye the target and the base. Without any colour the
// named cube is the target.
Instruction instruct(Episode& episode, std::string_view wording, int number);

}  // namespace tendon::sim
