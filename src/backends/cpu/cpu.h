// The CPU backend: products from packed weights, vectorised loops, a team of threads.
#pragma once

#include <memory>

#include "backends/cpu/isa.h"
#include "ops/backend.h"

namespace tendon {

// Who multiplies. automatic: oneDNN where the processor multiplies bf16 natively but not in tiles
// (AVX-512 bf16 without AMX), both operands are bf16 and the weight is no small one; our kernels
// elsewhere. onednn: oneDNN wherever it can. On a Zen 3 core ours do 86-94 GFLOP/s at 256-532 rows
// and oneDNN 2.6 86-93; at 10 rows with weights from memory 74-84 (bf16) and 40 (f32) against
// 26-33. On two AMX cores 1.1 to 2.4 TFLOP/s against 0.7 to 1.5.
enum class CpuProducts : std::uint8_t { automatic, own, onednn };

struct CpuOptions {
  cpu::Isa widest = cpu::Isa::avx512;  // no wider instruction set is used
  CpuProducts products = CpuProducts::automatic;
};

// Throws Error where the machine has not even the baseline.
std::unique_ptr<Backend> make_cpu(const CpuOptions& options = {});

}  // namespace tendon
