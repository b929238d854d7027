// Which cube a prompt names.
#pragma once

#include <string>
#include <string_view>

#include "sim/episode.h"

namespace tendon::sim {

struct Instruction {
  std::string text;
  int named = -1;  // cube; -1: a colour that is not on the table
};

// Fills the wording's {colour}, {other} or {absent} from the episode; `number` picks between the
// two others. A colour in plain words makes its cube the target, and the target is dyed where no
// cube has it. Without any colour the named cube is the target.
Instruction instruct(Episode& episode, std::string_view wording, int number);

}  // namespace tendon::sim
