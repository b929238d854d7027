#include "backends/cpu/kernels.h"

#include <immintrin.h>

#define TENDON_VECTOR_WIDTH 16
#define TENDON_ISA Isa::avx512

namespace tendon::cpu {
namespace {

// Each builds on those before it.
#include "backends/cpu/simd.inl"

#include "backends/cpu/rows.inl"

#include "backends/cpu/product.inl"

#include "backends/cpu/attend.inl"

#include "backends/cpu/table.inl"

}  // namespace

const Kernels& kernels_avx512() { return kTable; }

}  // namespace tendon::cpu
