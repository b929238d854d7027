// The backend for NVIDIA GPUs: sm_80 and newer.
#pragma once

#include <filesystem>
#include <memory>

#include "ops/backend.h"

namespace tendon {

// How a trace that repeats a step runs.
enum class StepMode : std::uint8_t {
  automatic,   // one persistent kernel where the trace and the device suit, else captured
  captured,    // always the captured chain of kernels
  persistent,  // compile() fails where a trace that iterates does not suit
};

struct CudaOptions {
  int device = 0;
  StepMode steps = StepMode::automatic;
  // Where measured algorithm choices are kept; empty: measured again by every compile().
  std::filesystem::path cache;
};

// Throws Error in one sentence: no driver, no such device, an architecture this build has no code
// for.
std::unique_ptr<Backend> make_cuda(const CudaOptions& options = {});

}  // namespace tendon
