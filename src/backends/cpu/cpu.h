// The CPU backend: products from packed weights, vectorised loops, OpenMP threads.
#pragma once

#include <memory>

#include "backends/cpu/isa.h"
#include "ops/backend.h"

namespace tendon {

// Which library multiplies. automatic: oneDNN where the processor multiplies bf16 natively (AMX,
// AVX-512 bf16) and both operands are bf16, our kernels elsewhere.
enum class CpuProducts : std::uint8_t { automatic, own, onednn };

struct CpuOptions {
  cpu::Isa widest = cpu::Isa::avx512;  // no wider instruction set is used
  CpuProducts products = CpuProducts::automatic;
};

// Throws Error where the machine has not even the baseline.
std::unique_ptr<Backend> make_cpu(const CpuOptions& options = {});

}  // namespace tendon
