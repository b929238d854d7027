// Time that only goes forward.
#pragma once

#include <chrono>
#include <cstdint>

namespace tendon {

// Nanoseconds of the machine's monotonic clock.
inline std::int64_t now_ns() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

class Stopwatch {
 public:
  Stopwatch() noexcept : start_(now_ns()) {}
  double seconds() const noexcept { return static_cast<double>(now_ns() - start_) * 1e-9; }
  void restart() noexcept { start_ = now_ns(); }

 private:
  std::int64_t start_;
};

}  // namespace tendon
