// What a contract takes, in the words of the public API.
#pragma once

#include "preprocess/contract.h"
#include "tendon/tendon.h"

namespace tendon {

// Fills inputs, state_forms, ignored and state_size.
void describe_inputs(const Contract& contract, PolicyInfo& info);

}  // namespace tendon
