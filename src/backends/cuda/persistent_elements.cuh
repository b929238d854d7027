// What phases of plain arithmetic share. They run once a step, from a cold instruction cache:
// little code counts for more than few instructions.
#pragma once

#include "backends/cuda/device/numeric.cuh"
#include "backends/cuda/persistent_team.cuh"

namespace tendon::cuda::persistent {

// Elements of an operand are counted, and their bytes too, in 32 bits. Two bits of a constant tell
// the size of a DType, as a power of two.
__device__ __forceinline__ int size_bits(DType t) { return 0xE5E >> 2 * static_cast<int>(t) & 3; }
__device__ __forceinline__ std::byte* element(const void* data, int i, DType t) {
  return static_cast<std::byte*>(const_cast<void*>(data)) + (i << size_bits(t));
}
__device__ __forceinline__ int row_at(const device::RowsView& v, int r) {
  return r * static_cast<int>(v.row_stride);
}

// The bits of an element of 4 or 2 bytes, past the L1: nothing here waits for them. Zero unless
// `real`.
__device__ __forceinline__ uint32_t load_bits(const void* p, bool four, bool real) {
  uint32_t bits = 0;
  asm volatile(
      "{\n .reg .pred real, four, two;\n"
      " setp.ne.s32 real, %3, 0;\n"
      " setp.ne.and.s32 four, %2, 0, real;\n setp.eq.and.s32 two, %2, 0, real;\n"
      " @four ld.global.cg.u32 %0, [%1];\n"
      " @two ld.global.cg.u16 %0, [%1];\n}"
      : "+r"(bits)
      : "l"(p), "r"(static_cast<int>(four)), "r"(static_cast<int>(real)));
  return bits;
}

// The thread in the team, known not to be negative.
__device__ __forceinline__ int team_thread(const Where& w) { return w.thread & (kThreads - 1); }

// One copy each of what any dtype takes, and of divisions.
static __device__ __noinline__ float value_of(uint32_t bits, DType t) {
  if (t == DType::bf16) return __uint_as_float(bits << 16);
  if (t == DType::f16) return __half2float(__ushort_as_half(static_cast<unsigned short>(bits)));
  if (t == DType::i32) return static_cast<float>(static_cast<int32_t>(bits));
  return t == DType::u8 ? static_cast<float>(bits) : __uint_as_float(bits);
}
static __device__ __noinline__ void put(void* p, DType t, float v) { device::store(p, 0, t, v); }
static __device__ __noinline__ int plain_quotient(int x, int y) {
  return static_cast<int>(static_cast<uint32_t>(x) / static_cast<uint32_t>(y));
}

// The table row of operand row r, see table_row().
static __device__ __noinline__ const float* row_of_table(const device::TableView& t, int r,
                                                         Where w) {
  int row = w.now;
  if (t.index && t.index != w.iteration) row = __ldcg(t.index + plain_quotient(r, t.rows));
  return t.data + (t.index ? row * t.stride : 0);
}

}  // namespace tendon::cuda::persistent
