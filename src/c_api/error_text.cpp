#include "c_api/error_text.h"

#include <algorithm>
#include <cstddef>

namespace tendon::c_api {
namespace {

// Held inline: a failure must not need memory to be reported.
constexpr std::size_t kCapacity = 1024;
thread_local char text[kCapacity] = "";

}  // namespace

void set_error(std::string_view sentence) noexcept {
  const std::size_t size = std::min(sentence.size(), kCapacity - 1);
  sentence.copy(text, size);
  text[size] = '\0';
}

const char* error_text() noexcept { return text; }

}  // namespace tendon::c_api
