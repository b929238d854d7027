// Launching the persistent step kernel.
#pragma once

#include "backends/cuda/persistent_phase.h"

namespace tendon::cuda::persistent {

struct StepShape {
  int rows = 0;        // the most of any product
  int head_width = 0;  // the most of any attention
  DType heads = DType::bf16;
  int ctas = 0;  // all resident at once
};

using StepKernel = void (*)(StepArgs);
StepKernel wide_step(int rows);    // bf16 heads of up to 256
StepKernel narrow_step(int rows);  // bf16 heads of up to 128
StepKernel half_step(int rows);    // f16 heads of up to 128

// Tiles of 16 rows that a step of so many rows computes with.
int tiles_of(int rows);
// Working memory of attention over heads of a width.
int attention_bytes(int width);

// Sets ctas: as many clusters as the device holds at once.
cudaError_t fit_step(StepShape& shape);
cudaError_t launch_step(const StepArgs& args, const StepShape& shape, cudaStream_t stream);

// Copies plain weights [rows, k] into the streams of one product phase. `first_tile` [CTAs *
// warps]: where, in tiles of the whole stream.
struct PackArgs {
  ProductPhase phase;
  const void* weight = nullptr;  // bf16
  std::byte* stream = nullptr;
  const std::uint32_t* first_tile = nullptr;
  int ctas = 0, group = 0;  // group: units that a warp computes at once, at most
};
void launch_pack(const PackArgs& args, cudaStream_t stream);

}  // namespace tendon::cuda::persistent
