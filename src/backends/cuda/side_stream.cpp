#include "backends/cuda/side_stream.h"

#include <algorithm>

namespace tendon::cuda {

SideStream::SideStream(cudaStream_t main, std::size_t traces) : main_(main), running_(traces) {
  check(cudaStreamCreateWithFlags(stream_.put(), cudaStreamNonBlocking), "creating a stream");
  for (Event* event : {&entered_, &left_}) {
    check(cudaEventCreateWithFlags(event->put(), cudaEventDisableTiming), "creating an event");
  }
}

cudaError_t SideStream::enter() noexcept {
  const cudaError_t status = cudaEventRecord(entered_.get(), main_);
  return status == cudaSuccess ? cudaStreamWaitEvent(stream_.get(), entered_.get()) : status;
}

cudaError_t SideStream::leave(std::size_t trace) noexcept {
  running_[trace] = 1;
  busy_ = true;
  return cudaEventRecord(left_.get(), stream_.get());
}

cudaError_t SideStream::join() noexcept {
  if (!busy_) return cudaSuccess;
  busy_ = false;
  std::fill(running_.begin(), running_.end(), 0);
  return cudaStreamWaitEvent(main_, left_.get());
}

bool SideStream::clashes(const std::vector<char>& clashes) const noexcept {
  for (std::size_t i = 0; i < running_.size(); ++i) {
    if (running(i) && clashes[i]) return true;
  }
  return false;
}

}  // namespace tendon::cuda
