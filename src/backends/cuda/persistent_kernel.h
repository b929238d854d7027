// Launching the persistent step kernel.
#pragma once

#include "backends/cuda/persistent_phase.h"

namespace tendon::cuda::persistent {

struct StepShape {
  int head_width = 0;  // the most of any attention
  DType heads = DType::bf16;
  int ctas = 0;  // all resident at once
};

using StepKernel = void (*)(StepArgs);
StepKernel wide_step();    // bf16 heads of up to 256
StepKernel narrow_step();  // bf16 heads of up to 128
StepKernel half_step();    // f16 heads of up to 128

// Working memory of attention over heads of a width, and of an fp32 product; shared memory beside
// region and ring.
int attention_bytes(int width);
// Of them, those that it may write before the phases before it have ended.
int attention_early_bytes(int width);
// Where a CTA's results lie in it.
int attention_results_at(int width);
int plain_bytes();
int fixed_bytes();
// Of packed rows.
int attention_units(const AttentionArgs& a);

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
