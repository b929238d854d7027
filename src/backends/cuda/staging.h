// Page-locked memory through which host bytes reach the device while the caller goes on.
#pragma once

#include <array>
#include <span>

#include "backends/cuda/context.h"

namespace tendon::cuda {

class Staging {
 public:
  // `stream` must outlive it.
  explicit Staging(cudaStream_t stream);

  // `to` receives the bytes in stream order; `data` may be reused on return.
  cudaError_t write(std::byte* to, std::span<const std::byte> data) noexcept;
  // Waits for the stream, then the bytes are in `data`.
  cudaError_t read(std::span<std::byte> data, const std::byte* from) noexcept;

 private:
  static constexpr std::size_t kPart = 4u << 20;
  static constexpr int kParts = 4;
  static constexpr std::size_t kCopy = 256u
                                       << 10;  // the device fetches one while the next is filled
  cudaError_t advance() noexcept;

  cudaStream_t stream_;
  PinnedMemory memory_, inbound_;
  std::array<Event, kParts> sent_;
  int part_ = 0;
  std::size_t used_ = 0;
};

}  // namespace tendon::cuda
