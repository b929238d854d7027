// Which cube a prompt names.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "sim/episode.h"

namespace tendon::sim {

// The wordings the policy was trained with; episode i gets the i-th, in turn.
inline constexpr std::array<std::string_view, 6> kWordings = {
    "pick up the {colour} block", "lift the {colour} block",   "grab the {colour} block",
    "take the {colour} cube",     "pick up the {colour} cube", "lift the {colour} cube"};

// The wording with `place` replaced.
std::string filled(std::string_view wording, std::string_view place, std::string_view word);

struct Instruction {
  std::string text;
  int named = -1;  // cube; -1: a colour that is not on the table
};

// Fills the wording's {colour}, {other} or {absent} from the episode; `number` picks between the
// two others. A colour in plain words makes its cube the target, and the target is dyed where no
// cube has it. Without any colour the named cube is the target.
Instruction instruct(Episode& episode, std::string_view wording, int number);

}  // namespace tendon::sim
