// What device code this build holds for the current GPU.
#pragma once

namespace tendon::cuda {

bool has_device_code();
// Products of warpgroups (sm_90a).
bool has_warpgroup_code();

}  // namespace tendon::cuda
