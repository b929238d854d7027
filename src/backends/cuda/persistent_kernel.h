// Launching the persistent step kernel.
#pragma once

#include "backends/cuda/persistent_phase.h"

namespace tendon::cuda::persistent {

struct StepShape {
  int rows = 0;     // the most of any product
  int cluster = 4;  // CTAs
  int ctas = 0;     // all resident at once
};

// Tiles of 16 rows that a step of so many rows computes with.
int tiles_of(int rows);

// Sets ctas: as many clusters as the device holds at once.
cudaError_t fit_step(StepShape& shape);
cudaError_t launch_step(const StepArgs& args, const StepShape& shape, cudaStream_t stream);

// Copies plain weights [rows, k] into the streams of one product phase. `first_tile` [CTAs *
// warps]: where in each stream, in tiles; `stream` as in StepArgs.
struct PackArgs {
  ProductPhase phase;
  const void* weight = nullptr;  // bf16
  std::byte* stream = nullptr;
  const std::uint32_t* stream_first = nullptr;
  const std::uint32_t* first_tile = nullptr;
  int ctas = 0, cluster = 0, pass = 0;
};
void launch_pack(const PackArgs& args, cudaStream_t stream);

}  // namespace tendon::cuda::persistent
