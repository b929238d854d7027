#include "backends/cpu/kernels.h"

#include "base/half.h"

#define TENDON_VECTOR_WIDTH 4
#define TENDON_ISA Isa::baseline

namespace tendon::cpu {
namespace {

// Each builds on those before it.
#include "backends/cpu/simd.inl"

#include "backends/cpu/rows.inl"

#include "backends/cpu/product.inl"

#include "backends/cpu/attend.inl"

#include "backends/cpu/table.inl"

}  // namespace

const Kernels& kernels_baseline() { return kTable; }

}  // namespace tendon::cpu
