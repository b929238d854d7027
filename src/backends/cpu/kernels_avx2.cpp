#include "backends/cpu/kernels.h"

#include <immintrin.h>

#define TENDON_VECTOR_WIDTH 8
#define TENDON_ISA Isa::avx2

namespace tendon::cpu {
namespace {

// Each builds on those before it.
#include "backends/cpu/simd.inl"

#include "backends/cpu/rows.inl"

#include "backends/cpu/product.inl"

#include "backends/cpu/attend.inl"

#include "backends/cpu/table.inl"

}  // namespace

const Kernels& kernels_avx2() { return kTable; }

}  // namespace tendon::cpu
