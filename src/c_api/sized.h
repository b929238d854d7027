// Structs that carry their own size, so that a program and a library of different ages agree.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string_view>

#include "base/error.h"

namespace tendon::c_api {

// What the caller gave, zeros for members it does not know yet; all zeros for null. Refuses members
// that this library does not know, unless they are zero. Throws Error naming `what`.
template <class T>
T sized_input(const T* given, std::string_view what) {
  T all{};
  if (given != nullptr) {
    require(given->size >= sizeof(given->size) && given->size < 4096,
            "{}: size is {}; set it to sizeof({}), as TENDON_INIT does", what, given->size, what);
    std::memcpy(&all, given, std::min(given->size, sizeof(T)));
    const auto* bytes = reinterpret_cast<const unsigned char*>(given);
    for (std::size_t i = sizeof(T); i < given->size; ++i) {
      require(bytes[i] == 0, "{}: a member is set that tendon_c of this version does not know",
              what);
    }
  }
  all.size = sizeof(T);
  return all;
}

// Throws Error naming `what` where the caller left `size` unset.
template <class T>
void check_size(const T& out, std::string_view what) {
  require(out.size >= sizeof(out.size), "{}: size is {}; set it to sizeof({}), as TENDON_INIT does",
          what, out.size, what);
}

// Fills as much as the caller knows of. Throws Error naming `what`.
template <class T>
void sized_output(const T& value, T* out, std::string_view what) {
  check_size(*out, what);
  const std::size_t size = out->size;
  std::memcpy(out, &value, std::min(size, sizeof(T)));
  out->size = size;
}

}  // namespace tendon::c_api
