// The phase of an fp32 product.
#pragma once

#include "backends/cuda/persistent_elements.cuh"

namespace tendon::cuda::persistent {

// A CTA's tile of a product: its warps compute 8 x 8 results each, lanes sharing the inputs.
constexpr int kPlainSide = 8;
constexpr int kPlainRows = 2 * kPlainSide, kPlainColumns = 4 * kPlainSide;
constexpr int kPlainLines = kPlainRows + kPlainColumns;  // rows of x, then of the weight
constexpr int kPlainChunk = 128;                         // inputs at a time
constexpr int kPlainStages = 3;
constexpr int kPlainStageFloats = kPlainLines * kPlainChunk;
constexpr int kPlainBytes = kPlainStages * kPlainStageFloats * 4;  // of the region
// The results of a lane lie so far from those of the next.
constexpr int kPlainLane = kPlainSide * kPlainSide + 4;
static_assert(kWarps * 32 * kPlainLane * 4 <= kPlainBytes);

// v is complete but for what follows the bias.
static __device__ __noinline__ void finish_plain(const PlainProductPhase& p, Where w, int r,
                                                 int column, float v) {
  if (p.curve != device::Curve::none) v = device::curve(p.curve, v);
  if (p.gate.data) v *= __ldcg(row_of_table(p.gate, r, w) + column);
  if (p.residual.data) {
    const DType type = p.residual.dtype;
    const void* from = element(p.residual.data, row_at(p.residual, r) + column, type);
    v += value_of(load_bits(from, size_bits(type) == 2, true), type);
  }
  put(element(p.out.data, row_at(p.out, r) + column, p.out.dtype), p.out.dtype, v);
}

__device__ __forceinline__ float bias_of(const PlainProductPhase& p, int column) {
  return p.bias && column < p.n ? __ldg(p.bias + column) : 0.0f;
}

struct PlainTile {
  int first_row, first_column;
};

// In the background. Lines that do not exist keep what is there: nobody stores their results.
__device__ __forceinline__ void bring_vector(uint32_t to, const float* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}
__device__ __forceinline__ void bring_vectors(const float* from, int stride, int lines,
                                              uint32_t to) {
#pragma unroll 1
  for (int i = 0; i < lines; i += kWarps) {
    bring_vector(to, from);
    to += kWarps * kPlainChunk * 4, from += kWarps * stride;
  }
}
// One number each, zero from the last input on to the next pair's end.
__device__ __forceinline__ void bring_scalars(const PlainProductPhase& p, const PlainTile& t, int k,
                                              int thread, uint32_t to) {
  int n = t.first_column + thread / kPlainChunk;
  const float* from = p.weight + (n * p.k + k);
  const int last = min(p.n, t.first_column + kPlainColumns), bytes = k < p.k ? 4 : 0;
#pragma unroll 1
  for (; n < last; n += kThreads / kPlainChunk) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to),
                 "l"(bytes ? from : p.weight), "r"(bytes)
                 : "memory");
    from += kThreads / kPlainChunk * p.k, to += kThreads * 4;
  }
}
__device__ __forceinline__ void move_rows(const PlainProductPhase& p, const PlainTile& t, int k,
                                          int thread, float* to) {
  constexpr int kEach = 4, kStep = kThreads / kPlainChunk;
  const DType type = p.x.dtype;
  const bool four = size_bits(type) == 2;
  const int first = t.first_row + thread / kPlainChunk;
  const int rows = k < p.k ? min(p.m - first, kPlainRows) : 0;
  const int step = kStep * row_at(p.x, 1) << size_bits(type), shift = type == DType::bf16 ? 16 : 0;
  const std::byte* from = element(p.x.data, row_at(p.x, first) + k, type);
#pragma unroll 1
  for (int r = 0; r < kPlainRows; r += kEach * kStep) {
    uint32_t bits[kEach];
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      bits[i] = load_bits(from, four, r + i * kStep < rows);
      from += step;
    }
#pragma unroll
    for (int i = 0; i < kEach; ++i, to += kThreads) {
      const unsigned short half = static_cast<unsigned short>(bits[i]);
      *to = type == DType::f16 ? __half2float(__ushort_as_half(half))
                               : __uint_as_float(bits[i] << shift);
    }
  }
}

// Inputs [first, first + kPlainChunk) of a tile's lines; beyond the last one zeros up to a pair.
__device__ __forceinline__ void stage(const PlainProductPhase& p, const PlainTile& t, int first,
                                      int thread, float* to) {
  const int warp = thread / 32, vector = first + thread % 32 * 4;
  const int scalar = first + thread % kPlainChunk, end = p.k + p.k % 2;
  const uint32_t x = device::shared_address(to), weight = x + kPlainRows * kPlainChunk * 4;
  if (p.k % 4 == 0) {
    const int line = t.first_column + warp;
    if (vector < p.k) {
      bring_vectors(p.weight + (line * p.k + vector), p.k, min(p.n - line, kPlainColumns - warp),
                    weight + thread * 16);
    }
  } else if (scalar < end) {
    bring_scalars(p, t, scalar, thread, weight + thread * 4);
  }
  if (p.vectors) {
    const int line = t.first_row + warp;
    if (vector < p.k) {
      bring_vectors(static_cast<const float*>(p.x.data) + (row_at(p.x, line) + vector),
                    row_at(p.x, 1), min(p.m - line, kPlainRows - warp), x + thread * 16);
    }
  } else if (scalar < end) {
    move_rows(p, t, scalar, thread, to + thread);
  }
}

using PlainSums = float[kPlainSide * kPlainSide];

// Lanes take pairs of `count` inputs.
__device__ __forceinline__ void multiply_chunk(const float* x, const float* weight, int lane,
                                               int count, PlainSums& sum) {
#pragma unroll 1
  for (int k = lane * 2; k < count; k += 64) {
    float2 a[kPlainSide];
#pragma unroll
    for (int i = 0; i < kPlainSide; ++i) {
      a[i] = *reinterpret_cast<const float2*>(x + i * kPlainChunk + k);
    }
#pragma unroll
    for (int j = 0; j < kPlainSide; ++j) {
      const float2 b = *reinterpret_cast<const float2*>(weight + j * kPlainChunk + k);
#pragma unroll
      for (int i = 0; i < kPlainSide; ++i) {
        float& s = sum[i * kPlainSide + j];
        s = fmaf(a[i].y, b.y, fmaf(a[i].x, b.x, s));
      }
    }
  }
}

// Adds up a warp's results over its lanes, of which each keeps two neighbours.
__device__ __forceinline__ float2 add_lanes(const PlainSums& sum, float* memory, int lane) {
  float4* to = reinterpret_cast<float4*>(memory + lane * kPlainLane);
#pragma unroll
  for (int i = 0; i < kPlainSide * kPlainSide / 4; ++i) {
    to[i] = make_float4(sum[4 * i], sum[4 * i + 1], sum[4 * i + 2], sum[4 * i + 3]);
  }
  __syncwarp();
  float2 total{0, 0};
#pragma unroll 4
  for (int i = 0; i < 32; ++i) {
    const float2 v = *reinterpret_cast<const float2*>(memory + i * kPlainLane + lane * 2);
    total.x += v.x, total.y += v.y;
  }
  return total;
}

__device__ __forceinline__ void multiply_plain(const PlainProductPhase& p, const Where& w,
                                               const PlainTile& t, float* memory) {
  const int thread = team_thread(w), lane = thread % 32, warp = thread / 32;
  const int row = warp / 4 * kPlainSide, column = warp % 4 * kPlainSide;
  const int r = t.first_row + row + lane / 4, n = t.first_column + column + lane % 4 * 2;
  const bool used = t.first_row + row < p.m && t.first_column + column < p.n;
  const float bias[2] = {bias_of(p, n), bias_of(p, n + 1)};
  PlainSums sum = {};
  int slot = 0;  // of the chunk that is brought
#pragma unroll 1
  for (int k = -2 * kPlainChunk; k < p.k; k += kPlainChunk) {
    if (k >= 0) {
      device::copy_async_wait<1>();
      team_sync();
    }
    const int next = k + 2 * kPlainChunk;
    if (next < p.k) stage(p, t, next, thread, memory + slot * kPlainStageFloats);
    device::copy_async_commit();
    slot = slot == kPlainStages - 1 ? 0 : slot + 1;  // the oldest, which is multiplied
    if (k < 0 || !used) continue;
    const float* from = memory + slot * kPlainStageFloats;
    multiply_chunk(from + row * kPlainChunk, from + (kPlainRows + column) * kPlainChunk, lane,
                   min(kPlainChunk, p.k - k), sum);
  }
  team_sync();
  if (!used) return;
  const float2 total = add_lanes(sum, memory + warp * 32 * kPlainLane, lane);
  if (r >= p.m) return;
#pragma unroll 1
  for (int i = 0; i < 2 && n + i < p.n; ++i) {
    finish_plain(p, w, r, n + i, i ? total.y + bias[1] : total.x + bias[0]);
  }
}

// Four inputs of x and of the weight, else zeros; of bf16 in .x and .z. Nothing waits for them.
__device__ __forceinline__ void load_vectors(const std::byte* x, const float4* weight, bool four,
                                             bool real, uint4& a, float4& b) {
  a = make_uint4(0, 0, 0, 0), b = make_float4(0, 0, 0, 0);
  asm volatile(
      "{\n .reg .pred real, four, two;\n"
      " setp.ne.s32 real, %11, 0;\n"
      " setp.ne.and.s32 four, %10, 0, real;\n setp.eq.and.s32 two, %10, 0, real;\n"
      " @real ld.global.nc.v4.f32 {%4, %5, %6, %7}, [%9];\n"
      " @four ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%8];\n"
      " @two ld.global.cg.v2.u32 {%0, %2}, [%8];\n}"
      : "+r"(a.x), "+r"(a.y), "+r"(a.z), "+r"(a.w), "+f"(b.x), "+f"(b.y), "+f"(b.z), "+f"(b.w)
      : "l"(x), "l"(weight), "r"(static_cast<int>(four)), "r"(static_cast<int>(real)));
}

// Vectors 0, 32, .. < left of a lane, four at most; x in fp32 or bf16. All loads come first.
__device__ __forceinline__ float dot_vectors(const std::byte* x, const float4* weight, int left,
                                             bool four, float sum) {
  float4 b[4];
  uint4 a[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    load_vectors(x, weight + i * 32, four, i * 32 < left, a[i], b[i]);
    x += four ? 512 : 256;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (!four) {
      a[i].y = a[i].x & 0xffff0000u, a[i].w = a[i].z & 0xffff0000u;
      a[i].x <<= 16, a[i].z <<= 16;
    }
    sum = fmaf(__uint_as_float(a[i].x), b[i].x, sum);
    sum = fmaf(__uint_as_float(a[i].y), b[i].y, sum);
    sum = fmaf(__uint_as_float(a[i].z), b[i].z, sum);
    sum = fmaf(__uint_as_float(a[i].w), b[i].w, sum);
  }
  return sum;
}

// Few results of many inputs: a warp computes one. Lanes take four inputs at a time.
static __device__ __noinline__ void run_narrow_product(const PlainProductPhase& p, Where w) {
  const bool whole = size_bits(p.x.dtype) == 2;
  const int lane = team_thread(w) % 32, warp = team_thread(w) / 32;
#pragma unroll 1
  for (int task = warp * w.ctas + w.cta; task < p.n * p.m; task += w.ctas * kWarps) {
    const int column = plain_quotient(task, p.m), r = task - column * p.m;
    const float4* weight = reinterpret_cast<const float4*>(p.weight + column * p.k);
    const std::byte* x = element(p.x.data, row_at(p.x, r) + lane * 4, p.x.dtype);
    const float bias = bias_of(p, column);
    float sum = 0;
    weight += lane;
#pragma unroll 1
    for (int left = p.k / 4 - lane; left > 0; left -= 128) {
      sum = dot_vectors(x, weight, left, whole, sum);
      x += whole ? 2048 : 1024, weight += 128;
    }
    sum = device::warp_sum(sum);
    if (lane == 0) finish_plain(p, w, r, column, sum + bias);
  }
}

__device__ __forceinline__ bool narrow(const PlainProductPhase& p, const Where& w) {
  const int mask = (4 << size_bits(p.x.dtype)) - 1;
  const bool even = p.k % 4 == 0 && static_cast<int>(p.x.row_stride) % 4 == 0 &&
                    (static_cast<uint32_t>(reinterpret_cast<uintptr_t>(p.x.data)) & mask) == 0;
  return even && p.x.dtype != DType::f16 && p.k > kPlainChunk && p.m * p.n <= 2 * kWarps * w.ctas;
}

static __device__ __noinline__ void run_plain_product(const PlainProductPhase& p, Where w,
                                                      std::byte* region) {
  if (narrow(p, w)) return run_narrow_product(p, w);
  const int groups = (p.m + kPlainRows - 1) / kPlainRows;
  const int tiles = groups * ((p.n + kPlainColumns - 1) / kPlainColumns);
#pragma unroll 1
  for (int t = w.cta; t < tiles; t += w.ctas) {
    if (t != w.cta) team_sync();
    const int column = plain_quotient(t, groups), row = t - column * groups;
    multiply_plain(p, w, {row * kPlainRows, column * kPlainColumns},
                   reinterpret_cast<float*>(region));
  }
}

}  // namespace tendon::cuda::persistent
