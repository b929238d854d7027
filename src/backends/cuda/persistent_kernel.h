// Launching the persistent step kernel.
#pragma once

#include "backends/cuda/persistent_phase.h"

namespace tendon::cuda::persistent {

struct StepShape {
  int head_width = 0, unit_rows = 0;  // the most of any attention
  DType heads = DType::bf16;
  int ctas = 0;  // all resident at once
};

using StepKernel = void (*)(StepArgs);
StepKernel wide_step();    // bf16 heads of up to 256
StepKernel few_step();     // the same in units of kFewRows
StepKernel narrow_step();  // bf16 heads of up to 128
StepKernel half_step();    // f16 heads of up to 128

// Working memory of attention over heads of a width, in units of so many rows; of it, those bytes
// that it may write before the phases before it have ended; where a CTA's results lie.
struct AttentionPlaces {
  int bytes, early, results;
};
AttentionPlaces attention_places(int width, int rows);
// Working memory of an fp32 product; shared memory beside region and ring.
int plain_bytes();
int fixed_bytes();
// Of packed rows; how many each has.
struct AttentionUnits {
  int count, rows;
};
AttentionUnits attention_units(const AttentionArgs& a);

// Sets ctas: as many clusters as the device holds at once.
cudaError_t fit_step(StepShape& shape);
cudaError_t launch_step(const StepArgs& args, const StepShape& shape, cudaStream_t stream);

// Copies plain weights [rows, k] into the streams of one product phase. `first` [CTAs]: the byte of
// the whole stream.
struct PackArgs {
  ProductPhase phase;
  const void* weight = nullptr;  // bf16
  std::byte* stream = nullptr;
  const std::uint64_t* first = nullptr;
  int ctas = 0, slot = 0;
};
void launch_pack(const PackArgs& args, cudaStream_t stream);

}  // namespace tendon::cuda::persistent
