// What goes wrong: one exception while loading and planning, a Status once warm.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>

namespace tendon {

// Thrown while loading, planning and validating input. what() is one sentence that names the thing
// and the remedy: "op: what was wanted, what came".
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message) : std::runtime_error(message) {}
};

// Outcome of a noexcept call on the warm path. Holds its sentence inline: no allocation.
class Status {
 public:
  static constexpr std::size_t kCapacity = 240;

  Status() noexcept = default;  // success
  // Failure; a longer message is cut.
  explicit Status(std::string_view message) noexcept {
    size_ = message.size() < kCapacity ? message.size() : kCapacity;
    message.copy(text_, size_);
    if (size_ == 0) text_[size_++] = '?';
  }
  bool ok() const noexcept { return size_ == 0; }
  std::string_view message() const noexcept { return {text_, size_}; }

 private:
  std::size_t size_ = 0;
  char text_[kCapacity] = {};
};

}  // namespace tendon
