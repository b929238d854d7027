// Matrix products of a warpgroup (sm_90a): operands in shared memory, rows of 128 bytes swizzled as
// the tensor copies of tensor_copy.cuh write them.
#pragma once

#include <stdint.h>

#include "backends/cuda/device/mma.cuh"

namespace tendon::cuda::device {

// Whether the code being compiled may use a warpgroup's instructions.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define TENDON_WGMMA 1
#else
#define TENDON_WGMMA 0
#endif

// A tile of 16-bit elements. K-major: rows of 64 elements along the summed dimension, groups of 8
// rows 1024 bytes apart. Otherwise: rows are the summed dimension, blocks of 64 columns `block`
// bytes apart.
__device__ inline uint64_t tile_descriptor(uint32_t address, uint32_t block = 16) {
  return uint64_t{(address & 0x3ffffu) >> 4} | uint64_t{block >> 4} << 16 |
         uint64_t{1024 >> 4} << 32 | uint64_t{1} << 62;
}

__device__ inline void wgmma_fence() {
#if TENDON_WGMMA
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
__device__ inline void wgmma_commit() {
#if TENDON_WGMMA
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
template <int N>
__device__ inline void wgmma_wait() {
#if TENDON_WGMMA
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
#endif
}

// Names and operands of accumulator registers, in tens.
#define TENDON_TEN(p) \
  "%" #p "0,%" #p "1,%" #p "2,%" #p "3,%" #p "4,%" #p "5,%" #p "6,%" #p "7,%" #p "8,%" #p "9"
#define TENDON_FOUR(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define TENDON_TWENTY(d, i)                                                                \
  TENDON_FOUR(d, i), TENDON_FOUR(d, i + 4), TENDON_FOUR(d, i + 8), TENDON_FOUR(d, i + 12), \
      TENDON_FOUR(d, i + 16)
#define TENDON_LIST20 TENDON_TEN() "," TENDON_TEN(1)
#define TENDON_LIST40 TENDON_LIST20 "," TENDON_TEN(2) "," TENDON_TEN(3)
#define TENDON_LIST60 TENDON_LIST40 "," TENDON_TEN(4) "," TENDON_TEN(5)
#define TENDON_LIST100 \
  TENDON_LIST60 "," TENDON_TEN(6) "," TENDON_TEN(7) "," TENDON_TEN(8) "," TENDON_TEN(9)
#define TENDON_LIST120 TENDON_LIST100 "," TENDON_TEN(10) "," TENDON_TEN(11)
#define TENDON_WGMMA_TEXT(n, type, list, a, b, s, tail)                             \
  "{\n.reg .pred p;\nsetp.ne.b32 p, %" #s                                           \
  ", 0;\n"                                                                          \
  "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type " {" list "}, " a ", %" #b \
  ", p, 1, 1, " tail ";\n}"

// d[64, N] = (add ? d : 0) + a[64, 16] b[N, 16]^T. Registers: row lane / 4 + 8 (i / 2 % 2) + 16
// warp, column 8 (i / 4) + lane % 4 * 2 + i % 2.
template <int N, class T = __nv_bfloat16>
struct Wgmma;

#define TENDON_WGMMA_SHARED(n, list, a, b, s, ...) \
  TENDON_WGMMA_SHARED_OF(n, __nv_bfloat16, "bf16.bf16", list, a, b, s, __VA_ARGS__)
#define TENDON_WGMMA_SHARED_OF(n, T, type, list, a, b, s, ...)                       \
  template <>                                                                        \
  struct Wgmma<n, T> {                                                               \
    __device__ static void run(float (&d)[n / 2], uint64_t x, uint64_t y, int add) { \
      asm volatile(TENDON_WGMMA_TEXT(n, type, list, "%" #a, b, s, "0, 0")            \
                   : __VA_ARGS__                                                     \
                   : "l"(x), "l"(y), "r"(add));                                      \
    }                                                                                \
  }

#if TENDON_WGMMA
TENDON_WGMMA_SHARED(16, "%0,%1,%2,%3,%4,%5,%6,%7", 8, 9, 10, TENDON_FOUR(d, 0), TENDON_FOUR(d, 4));
TENDON_WGMMA_SHARED(48, TENDON_LIST20 ",%20,%21,%22,%23", 24, 25, 26, TENDON_TWENTY(d, 0),
                    TENDON_FOUR(d, 20));
TENDON_WGMMA_SHARED(64, TENDON_LIST20 "," TENDON_TEN(2) ",%30,%31", 32, 33, 34, TENDON_TWENTY(d, 0),
                    TENDON_FOUR(d, 20), TENDON_FOUR(d, 24), TENDON_FOUR(d, 28));
TENDON_WGMMA_SHARED_OF(64, __half, "f16.f16", TENDON_LIST20 "," TENDON_TEN(2) ",%30,%31", 32, 33,
                       34, TENDON_TWENTY(d, 0), TENDON_FOUR(d, 20), TENDON_FOUR(d, 24),
                       TENDON_FOUR(d, 28));
TENDON_WGMMA_SHARED(80, TENDON_LIST40, 40, 41, 42, TENDON_TWENTY(d, 0), TENDON_TWENTY(d, 20));
TENDON_WGMMA_SHARED(96, TENDON_LIST40 ",%40,%41,%42,%43,%44,%45,%46,%47", 48, 49, 50,
                    TENDON_TWENTY(d, 0), TENDON_TWENTY(d, 20), TENDON_FOUR(d, 40),
                    TENDON_FOUR(d, 44));
TENDON_WGMMA_SHARED(104, TENDON_LIST40 "," TENDON_TEN(4) ",%50,%51", 52, 53, 54,
                    TENDON_TWENTY(d, 0), TENDON_TWENTY(d, 20), TENDON_FOUR(d, 40),
                    TENDON_FOUR(d, 44), TENDON_FOUR(d, 48));
TENDON_WGMMA_SHARED(128, TENDON_LIST60 ",%60,%61,%62,%63", 64, 65, 66, TENDON_TWENTY(d, 0),
                    TENDON_TWENTY(d, 20), TENDON_TWENTY(d, 40), TENDON_FOUR(d, 60));
TENDON_WGMMA_SHARED(136, TENDON_LIST60 ",%60,%61,%62,%63,%64,%65,%66,%67", 68, 69, 70,
                    TENDON_TWENTY(d, 0), TENDON_TWENTY(d, 20), TENDON_TWENTY(d, 40),
                    TENDON_FOUR(d, 60), TENDON_FOUR(d, 64));
TENDON_WGMMA_SHARED(160, TENDON_LIST60 "," TENDON_TEN(6) "," TENDON_TEN(7), 80, 81, 82,
                    TENDON_TWENTY(d, 0), TENDON_TWENTY(d, 20), TENDON_TWENTY(d, 40),
                    TENDON_TWENTY(d, 60));
TENDON_WGMMA_SHARED(200, TENDON_LIST100, 100, 101, 102, TENDON_TWENTY(d, 0), TENDON_TWENTY(d, 20),
                    TENDON_TWENTY(d, 40), TENDON_TWENTY(d, 60), TENDON_TWENTY(d, 80));
TENDON_WGMMA_SHARED(256, TENDON_LIST120 ",%120,%121,%122,%123,%124,%125,%126,%127", 128, 129, 130,
                    TENDON_TWENTY(d, 0), TENDON_TWENTY(d, 20), TENDON_TWENTY(d, 40),
                    TENDON_TWENTY(d, 60), TENDON_TWENTY(d, 80), TENDON_TWENTY(d, 100),
                    TENDON_FOUR(d, 120), TENDON_FOUR(d, 124));
#endif

// d[64, N] += a[64, 16] b[16, N]: a in registers as mma.sync lays it out, rows of b are the summed
// dimension.
template <int N, class T = __nv_bfloat16>
struct WgmmaRows;

#define TENDON_WGMMA_ROWS(n, list, a0, a1, a2, a3, b, s, ...) \
  TENDON_WGMMA_ROWS_OF(n, __nv_bfloat16, "bf16.bf16", list, a0, a1, a2, a3, b, s, __VA_ARGS__)
#define TENDON_WGMMA_ROWS_OF(n, T, type, list, a0, a1, a2, a3, b, s, ...)                      \
  template <>                                                                                  \
  struct WgmmaRows<n, T> {                                                                     \
    __device__ static void run(float (&d)[n / 2], const uint32_t (&a)[4], uint64_t y) {        \
      asm volatile(                                                                            \
          TENDON_WGMMA_TEXT(n, type, list, "{%" #a0 ",%" #a1 ",%" #a2 ",%" #a3 "}", b, s, "1") \
          : __VA_ARGS__                                                                        \
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(y), "r"(1));                       \
    }                                                                                          \
  }

#if TENDON_WGMMA
TENDON_WGMMA_ROWS(64, TENDON_LIST20 "," TENDON_TEN(2) ",%30,%31", 32, 33, 34, 35, 36, 37,
                  TENDON_TWENTY(d, 0), TENDON_FOUR(d, 20), TENDON_FOUR(d, 24), TENDON_FOUR(d, 28));
TENDON_WGMMA_ROWS(80, TENDON_LIST40, 40, 41, 42, 43, 44, 45, TENDON_TWENTY(d, 0),
                  TENDON_TWENTY(d, 20));
TENDON_WGMMA_ROWS(128, TENDON_LIST60 ",%60,%61,%62,%63", 64, 65, 66, 67, 68, 69,
                  TENDON_TWENTY(d, 0), TENDON_TWENTY(d, 20), TENDON_TWENTY(d, 40),
                  TENDON_FOUR(d, 60));
TENDON_WGMMA_ROWS_OF(128, __half, "f16.f16", TENDON_LIST60 ",%60,%61,%62,%63", 64, 65, 66, 67, 68,
                     69, TENDON_TWENTY(d, 0), TENDON_TWENTY(d, 20), TENDON_TWENTY(d, 40),
                     TENDON_FOUR(d, 60));
TENDON_WGMMA_ROWS(256, TENDON_LIST120 ",%120,%121,%122,%123,%124,%125,%126,%127", 128, 129, 130,
                  131, 132, 133, TENDON_TWENTY(d, 0), TENDON_TWENTY(d, 20), TENDON_TWENTY(d, 40),
                  TENDON_TWENTY(d, 60), TENDON_TWENTY(d, 80), TENDON_TWENTY(d, 100),
                  TENDON_FOUR(d, 120), TENDON_FOUR(d, 124));
#endif

}  // namespace tendon::cuda::device
