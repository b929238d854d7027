// Memory straight from the operating system, zero, aligned to pages; from 2 MB on to huge pages and
// in huge pages, where the system has them to give.
#pragma once

#include <cstddef>
#include <utility>

namespace tendon::cpu {

class Memory {
 public:
  Memory() = default;
  explicit Memory(std::size_t bytes);  // throws Error
  Memory(Memory&& o) noexcept
      : data_(std::exchange(o.data_, nullptr)), bytes_(std::exchange(o.bytes_, 0)) {}
  Memory& operator=(Memory&& o) noexcept {
    std::swap(data_, o.data_);
    std::swap(bytes_, o.bytes_);
    return *this;
  }
  ~Memory();
  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace tendon::cpu
