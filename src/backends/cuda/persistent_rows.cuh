// The activations of a product phase: through a norm into shared memory, or as they lie into
// registers.
#pragma once

#include <cooperative_groups.h>

#include "backends/cuda/device/grid.cuh"
#include "backends/cuda/device/rotate.cuh"
#include "backends/cuda/persistent_ring.cuh"

namespace tendon::cuda::persistent {

// What other CTAs of this kernel wrote is read past the L1.
__device__ inline float load_fresh(const void* p, int64_t i, DType t) {
  if (t == DType::bf16) {
    const unsigned short bits = __ldcg(static_cast<const unsigned short*>(p) + i);
    return __uint_as_float(static_cast<uint32_t>(bits) << 16);
  }
  if (t == DType::f16) return __half2float(__ldcg(static_cast<const __half*>(p) + i));
  return __ldcg(static_cast<const float*>(p) + i);
}

// The table row of operand row r; `now` is the current iteration, whose counter may lag behind.
__device__ inline const float* table_row(const device::TableView& t, int r,
                                         const int32_t* iteration, int now) {
  if (!t.index) return t.data;
  int row = now;
  if (t.index != iteration) row = __ldcg(t.index + (t.rows == 1 ? r : r / t.rows));
  return t.data + int64_t{row} * t.stride;
}

// Where a thread stands. `thread` is read anew in every phase: what is computed from it would else
// be kept in registers over all phases.
struct Where {
  int cta, ctas, rank, cluster, clusters;
  const int32_t* iteration;
  int now;
  int thread;
  __device__ int lane() const { return thread % 32; }
  __device__ int warp() const { return thread / 32; }
};

__device__ inline int read_thread() {
  int t;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(t));
  return t;
}

// Leave to begin: until then a phase touches nothing that the phases before it write.
struct Gate {
  const uint32_t* counter;
  uint32_t target;
  bool waits;
  long long* marks;  // of this phase, in one thread of the grid; else null

  __device__ void mark(int i) const {
    if (marks) marks[i] = clock64();
  }
  __device__ void wait() const {
    if (waits) {
      if (threadIdx.x == 0) device::wait_for(counter, target);
      __syncthreads();
    }
    mark(1);
  }
};

// All of a cluster's threads meet; what a CTA wrote to its own shared memory before can be read by
// all. The default semantics of arrive wait for every access to memory (1000 cycles on an H200); a
// CTA's own writes to its shared memory are done when its fence is.
__device__ inline void cluster_sync() {
  asm volatile("fence.acq_rel.cta;" ::: "memory");
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
  asm volatile("barrier.cluster.wait.aligned;" ::: "memory");
}

__device__ inline uint32_t peer_address(const void* p, int rank) {
  uint32_t to;
  asm("mapa.shared::cluster.u32 %0, %1, %2;"
      : "=r"(to)
      : "r"(device::shared_address(p)), "r"(rank));
  return to;
}
__device__ inline float2 load_peer2(uint32_t address) {
  float2 v;
  asm volatile("ld.shared::cluster.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "r"(address));
  return v;
}
__device__ inline float4 load_peer4(uint32_t address) {
  float4 v;
  asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "r"(address));
  return v;
}
__device__ inline void eight(const float* p, float other, float (&v)[8]) {
#pragma unroll
  for (int h = 0; h < 8; h += 4) {
    const float4 f =
        p ? *reinterpret_cast<const float4*>(p + h) : make_float4(other, other, other, other);
    v[h] = f.x, v[h + 1] = f.y, v[h + 2] = f.z, v[h + 3] = f.w;
  }
}

// What a norm leaves to do to eight columns once mean and deviation are known: x * f + a.
struct Affine {
  float f[8], a[8];
};

__device__ inline const float* table_at(const device::TableView& t, const Where& w, int row,
                                        int c) {
  return t.data ? table_row(t, row, w.iteration, w.now) + c : nullptr;
}

__device__ inline Affine affine_of(const ProductPhase& p, const Where& w, int row, int c) {
  Affine out;
  float bias[8], s[8], b[8];
  eight(p.norm_weight ? p.norm_weight + c : nullptr, 1.0f - p.offset, out.f);
  eight(p.norm_bias ? p.norm_bias + c : nullptr, 0.0f, bias);
  eight(table_at(p.scale, w, row, c), 0.0f, s);
  eight(table_at(p.shift, w, row, c), 0.0f, b);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    out.f[i] = (p.offset + out.f[i]) * (1 + s[i]);
    out.a[i] = bias[i] * (1 + s[i]) + b[i];
  }
  return out;
}
// Of rows that differ: seldom, so out of the way.
static __device__ __noinline__ void own_affine(const ProductPhase& p, const Where& w, int row,
                                               int c, Affine& out) {
  out = affine_of(p, w, row, c);
}

__device__ inline uint4 pack8(const float (&v)[8]) {
  return make_uint4(device::pack_bf16(v[0], v[1]), device::pack_bf16(v[2], v[3]),
                    device::pack_bf16(v[4], v[5]), device::pack_bf16(v[6], v[7]));
}

// The CTA's columns of x, normed, as bf16 rows of row_pitch() bytes at `to`. A warp has every
// eighth row, a lane eight columns; rows past the last repeat it, so that all go side by side.
// sums: [kMostRows], read by the cluster's CTAs.
template <int MT>
__device__ __forceinline__ void stage_rows(const ProductPhase& p, const Where& w, const Work& work,
                                           const Gate& gate, float2* sums, std::byte* to) {
  constexpr int kRows = 2 * MT;  // of a warp
  const int warp = w.warp(), lane = w.lane();
  const int c = work.first_cta_block * kBlock + lane * 8, pitch = row_pitch(work.cta_blocks);
  const bool mine = lane * 8 < work.cta_blocks * kBlock, real = mine && c < p.k;
  Affine affine{};
  if (real && !p.rows_differ) affine = affine_of(p, w, 0, c);
  const __nv_bfloat16* x = static_cast<const __nv_bfloat16*>(p.x.data) + (real ? c : 0);
  const __nv_bfloat16* from[kRows];
  int row[kRows];
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    row[i] = min(warp + kWarps * i, p.m - 1);
    from[i] = x + p.x.at(row[i]);
  }
  gate.wait();
  uint4 held[kRows];
  float sum[kRows], squares[kRows];
#pragma unroll
  for (int i = 0; i < kRows; ++i) held[i] = __ldcg(reinterpret_cast<const uint4*>(from[i]));
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    float v[8];
    device::unpack_words(held[i], DType::bf16, v);
    sum[i] = squares[i] = 0;
#pragma unroll
    for (int e = 0; e < 8; ++e) sum[i] += v[e], squares[i] = fmaf(v[e], v[e], squares[i]);
    if (!real) sum[i] = squares[i] = 0;
  }
#pragma unroll
  for (int o = 16; o; o >>= 1) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) squares[i] += __shfl_xor_sync(0xffffffffu, squares[i], o);
  }
  if (p.norm == NormKind::layer) {
#pragma unroll
    for (int o = 16; o; o >>= 1) {
#pragma unroll
      for (int i = 0; i < kRows; ++i) sum[i] += __shfl_xor_sync(0xffffffffu, sum[i], o);
    }
  } else {
#pragma unroll
    for (int i = 0; i < kRows; ++i) sum[i] = 0;
  }
  if (lane == 0) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) sums[row[i]] = make_float2(sum[i], squares[i]);
  }
  cluster_sync();
  const float inverse = 1.0f / static_cast<float>(p.k);
  // Lane 4 i + rank fetches what a CTA knows of row i; then all four lanes know the row.
  static_assert(kRows * kCluster <= 32);
  const int mine_of = min(warp + kWarps * (lane / kCluster % kRows), p.m - 1);
  float2 known = load_peer2(peer_address(sums, lane % kCluster) + mine_of * 8);
#pragma unroll
  for (int o = 1; o < kCluster; o *= 2) {
    known.x += __shfl_xor_sync(0xffffffffu, known.x, o);
    known.y += __shfl_xor_sync(0xffffffffu, known.y, o);
  }
  const float mean_of = known.x * inverse;
  const float d_of = rsqrtf(fmaxf(known.y * inverse - mean_of * mean_of, 0.0f) + p.eps);
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const float mean = __shfl_sync(0xffffffffu, mean_of, i * kCluster);
    const float d = __shfl_sync(0xffffffffu, d_of, i * kCluster);
    if (real && p.rows_differ) {
      Affine own;
      own_affine(p, w, row[i], c, own);
      affine = own;
    }
    float v[8];
    device::unpack_words(held[i], DType::bf16, v);
#pragma unroll
    for (int e = 0; e < 8; ++e) v[e] = (v[e] - mean) * d * affine.f[e] + affine.a[e];
    if (mine) *reinterpret_cast<uint4*>(to + row[i] * pitch + lane * 16) = pack8(v);
  }
  __syncthreads();
}

// Operands of a block for tiles of 16 rows: [half of the block][tile][register].
template <int MT>
using Block = uint32_t[2][MT][4];

__device__ inline void place(const uint4& upper, const uint4& lower, uint32_t (&first)[4],
                             uint32_t (&second)[4]) {
  first[0] = upper.x, first[1] = lower.x, first[2] = upper.y, first[3] = lower.y;
  second[0] = upper.z, second[1] = lower.z, second[2] = upper.w, second[3] = lower.w;
}

// A lane has inputs 8 (lane % 4) .. + 7 of a block in rows lane / 4 and 8 + lane / 4 of each tile:
// packed weights have the same order. Rows past m repeat the last one.
template <int MT>
__device__ __forceinline__ void staged_block(const std::byte* x, int m, int pitch, int block,
                                             int lane, Block<MT>& a) {
  const std::byte* from = x + block * kBlock * 2 + lane % 4 * 16;
#pragma unroll
  for (int t = 0; t < MT; ++t) {
    const int r = 16 * t + lane / 4;
    place(*reinterpret_cast<const uint4*>(from + min(r, m - 1) * pitch),
          *reinterpret_cast<const uint4*>(from + min(r + 8, m - 1) * pitch), a[0][t], a[1][t]);
  }
}

// The rows that a lane reads, from its place in the warp's first block on.
template <int MT>
struct DirectRows {
  const __nv_bfloat16* row[2 * MT];
  int inside;  // inputs from there to the end

  __device__ __forceinline__ DirectRows(const ProductPhase& p, int first_block, int lane) {
    const int c = first_block * kBlock + lane % 4 * 8;
    inside = p.k - c;
#pragma unroll
    for (int i = 0; i < 2 * MT; ++i) {
      row[i] =
          static_cast<const __nv_bfloat16*>(p.x.data) + c + p.x.at(min(8 * i + lane / 4, p.m - 1));
    }
  }
  __device__ __forceinline__ void block(int b, int blocks, Block<MT>& a) const {
    const bool real = b < blocks && b * kBlock < inside;
#pragma unroll
    for (int t = 0; t < MT; ++t) {
      uint4 v[2] = {make_uint4(0, 0, 0, 0), make_uint4(0, 0, 0, 0)};
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        if (real) v[h] = __ldcg(reinterpret_cast<const uint4*>(row[2 * t + h] + b * kBlock));
      }
      place(v[0], v[1], a[0][t], a[1][t]);
    }
  }
};

}  // namespace tendon::cuda::persistent
