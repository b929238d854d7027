// The one place that names backends.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "ops/backend.h"

namespace tendon {

// "cpu", "cuda", "cuda:N", "reference". Throws Error that says which this build has.
std::unique_ptr<Backend> make_backend(std::string_view device);

}  // namespace tendon
