// A step that repeats, as one kernel that executes a list of phases for all repetitions.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/cuda.h"
#include "backends/cuda/planner.h"
#include "ops/backend.h"

namespace tendon::cuda {

class PersistentStep {
 public:
  virtual ~PersistentStep() = default;
  virtual cudaError_t run(int first, int count, cudaStream_t stream) noexcept = 0;
  // The kernel's phases, from its own clock, in the trace's next run.
  virtual std::vector<Executable::StepTime> profile(int repetitions, cudaStream_t stream) = 0;
  // Where its intermediates live: none shares memory with another.
  virtual const std::vector<std::size_t>& offsets() const = 0;
  virtual std::byte* arena() const = 0;
};

// Builds persistent steps and keeps what they share: packed weights, memory of intermediates.
class PersistentPool {
 public:
  // `shared` must outlive it. `traces`: those that may be built.
  PersistentPool(Shared& shared, const Program& program, std::vector<const Trace*> traces);
  ~PersistentPool();
  // Null, with the reason in `why`, where the trace or the device does not suit.
  std::unique_ptr<PersistentStep> build(const Trace& trace, const Memory& memory, std::string& why);
  std::size_t bytes() const;  // of intermediates; packed weights count as weights

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tendon::cuda
