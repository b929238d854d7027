#include "backends/cuda/staging.h"

#include <algorithm>
#include <cstring>

namespace tendon::cuda {

Staging::Staging(cudaStream_t stream) : stream_(stream), memory_(kPart * kParts), inbound_(kPart) {
  for (Event& event : sent_) {
    check(cudaEventCreateWithFlags(event.put(), cudaEventDisableTiming), "creating an event");
  }
}

// The next part, once the copies that used it are done (they are, unless megabytes are in flight).
cudaError_t Staging::advance() noexcept {
  const cudaError_t recorded =
      cudaEventRecord(sent_[static_cast<std::size_t>(part_)].get(), stream_);
  if (recorded != cudaSuccess) return recorded;
  part_ = (part_ + 1) % kParts;
  used_ = 0;
  return cudaEventSynchronize(sent_[static_cast<std::size_t>(part_)].get());
}

cudaError_t Staging::write(std::byte* to, std::span<const std::byte> data) noexcept {
  while (!data.empty()) {
    if (used_ == kPart) {
      const cudaError_t status = advance();
      if (status != cudaSuccess) return status;
    }
    const std::size_t n = std::min({data.size(), kPart - used_, kCopy});
    std::byte* host = memory_.data() + static_cast<std::size_t>(part_) * kPart + used_;
    std::memcpy(host, data.data(), n);
    const cudaError_t status = cudaMemcpyAsync(to, host, n, cudaMemcpyHostToDevice, stream_);
    if (status != cudaSuccess) return status;
    used_ += std::min(kPart - used_, (n + 63) / 64 * 64);
    to += n;
    data = data.subspan(n);
  }
  return cudaSuccess;
}

cudaError_t Staging::read(std::span<std::byte> data, const std::byte* from) noexcept {
  while (!data.empty()) {
    const std::size_t n = std::min(data.size(), kPart);
    cudaError_t status = cudaMemcpyAsync(inbound_.data(), from, n, cudaMemcpyDeviceToHost, stream_);
    if (status == cudaSuccess) status = cudaStreamSynchronize(stream_);
    if (status != cudaSuccess) return status;
    std::memcpy(data.data(), inbound_.data(), n);
    from += n;
    data = data.subspan(n);
  }
  return cudaSuccess;
}

}  // namespace tendon::cuda
