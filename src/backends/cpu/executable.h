// A Program made ready for this machine.
#pragma once

#include <memory>

#include "backends/cpu/planner.h"
#include "ops/backend.h"

namespace tendon::cpu {

// Packs weights, plans every trace, allocates. `machine` lacks only the team, which the result
// starts; its kernels outlive the result. Throws Error.
std::unique_ptr<Executable> compile(std::unique_ptr<Program> program, const Machine& machine,
                                    const CompileOptions& options);

}  // namespace tendon::cpu
