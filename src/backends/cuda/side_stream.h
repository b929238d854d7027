// A second stream for traces that touch nothing of what the first one is doing.
#pragma once

#include <vector>

#include "backends/cuda/context.h"

namespace tendon::cuda {

class SideStream {
 public:
  // `main` must outlive it; `traces`: how many there are.
  SideStream(cudaStream_t main, std::size_t traces);

  cudaStream_t get() const { return stream_.get(); }
  // What is launched here next follows everything asked of the main stream so far.
  cudaError_t enter() noexcept;
  // A trace was launched here.
  cudaError_t leave(std::size_t trace) noexcept;
  // What is asked of the main stream next follows everything here.
  cudaError_t join() noexcept;
  // Whether a trace was launched here since the last join; whether any that is set in `clashes`.
  bool running(std::size_t trace) const noexcept { return busy_ && running_[trace]; }
  bool clashes(const std::vector<char>& clashes) const noexcept;

 private:
  cudaStream_t main_;
  Stream stream_;
  Event entered_, left_;
  std::vector<char> running_;
  bool busy_ = false;
};

}  // namespace tendon::cuda
