// Whether this build holds device code that the current GPU can run.
#pragma once

namespace tendon::cuda {

bool has_device_code();

}  // namespace tendon::cuda
