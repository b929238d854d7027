// Choices between ways to run an op, made by running the traces that have it.
#include <algorithm>

#include "backends/cuda/executable.h"
#include "backends/cuda/gemm_check.h"

namespace tendon::cuda {

void CudaExecutable::set_scratch(std::size_t (*needed)(const Shared&)) {
  for (auto [memory, shared] : {std::pair{&scratch_, &shared_}, {&side_scratch_, &side_shared_}}) {
    *memory = DeviceMemory();
    *memory = DeviceMemory(needed(*shared), "temporary memory");
    shared->scratch = memory->data();
  }
}

// Makes what choices are open by running traces as a whole, on random numbers where there is no
// other content yet: power, and so speed, depends on what is multiplied.
void CudaExecutable::choose() {
  const auto open = [&](const Planned& p) { return !p.step && gemms_->choices().open(*p.trace); };
  if (std::any_of(planned_.begin(), planned_.end(), open)) {
    set_scratch(most_scratch);
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
      const DType dtype = program_->buffers[i].dtype;
      if (dtype != DType::bf16 && dtype != DType::f32) continue;
      fill_random(buffers_[i].data(), buffers_[i].size(), dtype, stream_.get());
    }
    check(cudaStreamSynchronize(stream_.get()), "choosing");
    for (Planned& planned : planned_) {
      if (open(planned)) gemms_->choices().make(*planned.trace, [&] { return seconds(planned); });
      planned.graph = GraphExec();
    }
  }
  set_scratch(selected_scratch);
}

double CudaExecutable::seconds(Planned& planned) {
  constexpr int kWarm = 1, kTimed = 4;
  const char* name = planned.trace->name().c_str();
  cudaStream_t stream = planned.aside ? side_.get() : stream_.get();
  Event start, stop;
  check(cudaEventCreate(start.put()), "creating an event");
  check(cudaEventCreate(stop.put()), "creating an event");
  planned.graph = GraphExec();
  capture(planned);
  check(cudaStreamSynchronize(stream_.get()), name);
  float best = 1e30f;
  for (int i = 0; i < kWarm + kTimed; ++i) {
    check(cudaEventRecord(start.get(), stream), name);
    check(launch(planned, 0, 1), name);
    check(cudaEventRecord(stop.get(), stream), name);
    check(cudaEventSynchronize(stop.get()), name);
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, start.get(), stop.get()), name);
    if (i >= kWarm) best = std::min(best, milliseconds);
  }
  return static_cast<double>(best) * 1e-3;
}

}  // namespace tendon::cuda
