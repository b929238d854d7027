// The starting noise of the original evaluations.
#pragma once

#include <cstdint>
#include <span>

namespace tendon {

// PyTorch's randn of a CPU generator seeded with `seed`, at least 16 numbers: equal to
// within 2.4e-7, which is the same bf16. Throws Error for fewer.
void torch_cpu_noise(std::uint32_t seed, std::span<float> out);

}  // namespace tendon
