// A CTA's share of a product's inputs, in shared memory as warpgroups read it: tiles of kBlock
// columns, rows of 128 bytes swizzled. Code is kept small here as in all phases: a layer's phases
// evict each other from the instruction cache, and what has to be fetched anew costs more than what
// is computed.
#pragma once

#include "backends/cuda/persistent_ring.cuh"

namespace tendon::cuda::persistent {

__device__ __forceinline__ float2 affine_of(const ProductPhase& p, const Where& w, int row, int c) {
  const float weight = p.norm_weight ? p.norm_weight[c] : 1.0f - p.offset;
  const float bias = p.norm_bias ? p.norm_bias[c] : 0.0f;
  const float s = p.scale.data ? table_row(p.scale, row, w.iteration, w.now)[c] : 0.0f;
  const float b = p.shift.data ? table_row(p.shift, row, w.iteration, w.now)[c] : 0.0f;
  return make_float2((p.offset + weight) * (1 + s), bias * (1 + s) + b);
}

// Where chunk `c` of eight columns of a row of a tile lies.
__device__ __forceinline__ std::uint32_t chunk_at(std::uint32_t tile, int row, int c) {
  return tile + row * kRowBytes + ((c ^ row) % 8) * 16;
}

// The rows as they lie in memory; zeros past the last column.
__device__ __forceinline__ void stage_rows(const ProductPhase& p, const Where& w, const Work& work,
                                           std::uint32_t inputs) {
  const int tile = row_tile_bytes(p), chunks = work.blocks * 8, first = work.first_block * kBlock;
  const __nv_bfloat16* x = static_cast<const __nv_bfloat16*>(p.x.data) + first;
  const int stride = static_cast<int>(p.x.row_stride), left = p.k - first, m = p.m;
#pragma unroll 1
  for (int r = w.warp(); r < m; r += kWarps) {
#pragma unroll 1
    for (int c = w.lane(); c < chunks; c += 32) {
      const bool real = c * 8 < left;
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                       chunk_at(inputs + c / 8 * tile, r, c)),
                   "l"(x + (real ? r * stride + c * 8 : 0)), "r"(real ? 16 : 0));
    }
  }
  device::copy_async_commit();
}

// Sums and sums of squares of the rows, of all CTAs of the cluster.
struct RowSums {
  Inbox inbox;
  std::uint32_t address;  // of float2 [kCluster][kMostRows], the same in every CTA
  const float2* sums;
  Affine* affine;
};

__device__ __forceinline__ uint4 load_shared(std::uint32_t address) {
  uint4 v;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(address));
  return v;
}

// One chunk through the norm.
__device__ __forceinline__ uint4 normed(uint4 x, float mean, float d, const float* factor,
                                        const float* addend) {
  float v[8];
  device::unpack_words(x, DType::bf16, v);
  uint32_t out[4];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const float4 f = reinterpret_cast<const float4*>(factor)[i];
    const float4 a = reinterpret_cast<const float4*>(addend)[i];
    out[2 * i] = device::pack_bf16(fmaf((v[4 * i] - mean) * d, f.x, a.x),
                                   fmaf((v[4 * i + 1] - mean) * d, f.y, a.y));
    out[2 * i + 1] = device::pack_bf16(fmaf((v[4 * i + 2] - mean) * d, f.z, a.z),
                                       fmaf((v[4 * i + 3] - mean) * d, f.w, a.w));
  }
  return make_uint4(out[0], out[1], out[2], out[3]);
}

// Rows whose factors differ: seldom, so out of the way.
static __device__ __noinline__ uint4 normed_row(const ProductPhase& p, const Where& w, uint4 x,
                                                float mean, float d, int row, int c) {
  float factor[8], addend[8];
#pragma unroll 1
  for (int i = 0; i < 8; ++i) {
    const float2 own = affine_of(p, w, row, min(c + i, p.k - 1));
    factor[i] = own.x, addend[i] = own.y;
  }
  return normed(x, mean, d, factor, addend);
}

// Which chunks of which row a thread takes through a norm: as many threads a row as there are rows
// for. Eight lanes that read at once meet in no bank.
struct RowPart {
  int lanes, row, part, odd;

  __device__ RowPart(int m, int thread) {
    const int log = m <= 16 ? 4 : m <= 32 ? 3 : 2;
    lanes = 1 << log, row = thread >> log, part = thread & lanes - 1;
    odd = lanes == 4 ? row & 1 : 0;
  }
  __device__ int count() const { return kNormBlocks * 8 / lanes; }
  __device__ int chunk(int i) const { return part + lanes * (i ^ odd); }
};

// A thread's part of what the phase before knew of its row, if it did. Four threads or more have a
// row.
constexpr int kMostParts = kMostClusters / 4;
__device__ __forceinline__ float2 known_sums(const ProductPhase& p, const Where& w) {
  const RowPart t(p.m, w.thread);
  float2 sum = make_float2(0, 0);
  if (!p.row_sums || t.row >= p.m) return sum;
  const float2* from = reinterpret_cast<const float2*>(p.row_sums) + t.row;
  const int m = p.m;
  float2 v[kMostParts];
#pragma unroll
  for (int j = 0; j < kMostParts; ++j) {  // all at once
    const int i = t.part + j * t.lanes;
    v[j] = i < w.clusters ? __ldcg(from + i * m) : make_float2(0, 0);
  }
#pragma unroll
  for (int j = 0; j < kMostParts; ++j) sum.x += v[j].x, sum.y += v[j].y;
  return sum;
}

// Mean and 1 / deviation of a row from its parts in all CTAs of the cluster.
__device__ __forceinline__ float2 moments(const ProductPhase& p, const Where& w, RowSums& sums,
                                          const RowPart& t, float sum, float squares) {
#pragma unroll 1
  for (int o = 1; o < t.lanes; o *= 2) {
    sum += __shfl_xor_sync(0xffffffffu, sum, o);
    squares += __shfl_xor_sync(0xffffffffu, squares, o);
  }
  if (!p.row_sums) {
    if (t.row < p.m && t.part < kCluster) {
      push2(peer_address(sums.address + (w.rank * kMostRows + t.row) * 8, t.part),
            peer_address(sums.inbox.barrier, t.part), sum, squares);
    }
    sums.inbox.wait();
    sum = squares = 0;
#pragma unroll
    for (int i = 0; i < kCluster; ++i) {
      const float2 v = sums.sums[i * kMostRows + t.row];
      sum += v.x, squares += v.y;
    }
  }
  const float inverse = 1.0f / static_cast<float>(p.k);
  const float mean = p.norm == NormKind::layer ? sum * inverse : 0.0f;
  return make_float2(mean, rsqrtf(fmaxf(squares * inverse - mean * mean, 0.0f) + p.eps));
}

// The staged rows through a norm, in place.
__device__ __forceinline__ void norm_rows(const ProductPhase& p, const Where& w, const Work& work,
                                          const Gate& gate, const float2& known, RowSums& sums,
                                          std::uint32_t inputs) {
  const RowPart t(p.m, w.thread);
  const int tile = row_tile_bytes(p), chunks = t.row < p.m ? work.blocks * 8 : 0;
  float sum = known.x, squares = known.y;
#pragma unroll 2
  for (int i = p.row_sums ? t.count() : 0; i < t.count(); ++i) {
    const int c = t.chunk(i);
    if (c >= chunks) continue;
    float v[8];
    device::unpack_words(load_shared(chunk_at(inputs + c / 8 * tile, t.row, c)), DType::bf16, v);
#pragma unroll
    for (int e = 0; e < 8; ++e) sum += v[e], squares = fmaf(v[e], v[e], squares);
  }
  const float2 m = moments(p, w, sums, t, sum, squares);
  gate.mark(3);
  // Nothing that the loop needs is read anew from the phase.
  const int first = work.first_block * kBlock, k = p.k, count = t.count();
  const bool differ = p.rows_differ;
  const float *factor = sums.affine->factor, *addend = sums.affine->addend;
#pragma unroll 2
  for (int i = 0; i < count; ++i) {
    const int c = t.chunk(i);
    if (c >= chunks) continue;
    const std::uint32_t at = chunk_at(inputs + c / 8 * tile, t.row, c);
    uint4 v = load_shared(at);
    if (differ) {
      v = normed_row(p, w, v, m.x, m.y, t.row, first + c * 8);
    } else {
      v = normed(v, m.x, m.y, factor + c * 8, addend + c * 8);
    }
    if (first + c * 8 >= k) v = make_uint4(0, 0, 0, 0);
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(at), "r"(v.x), "r"(v.y), "r"(v.z),
                 "r"(v.w));
  }
}

__device__ __forceinline__ void stage_inputs(const ProductPhase& p, const Where& w,
                                             const Work& work, const Gate& gate, RowSums& sums,
                                             std::uint32_t inputs) {
  const bool norm = p.norm != NormKind::none;
  float2 own = make_float2(0, 0);
  if (norm) {
    const int c = work.first_block * kBlock + w.thread;
    if (w.thread == 0 && !p.row_sums) {
      sums.inbox.expect(static_cast<std::uint32_t>(p.m) * kCluster * 8);
    }
    if (!p.rows_differ && c < p.k) own = affine_of(p, w, 0, c);  // on its way while the gate waits
  }
  gate.wait();
  stage_rows(p, w, work, inputs);
  float2 known = make_float2(0, 0);
  if (norm) {
    sums.affine->factor[w.thread] = own.x, sums.affine->addend[w.thread] = own.y;
    known = known_sums(p, w);
  }
  device::copy_async_wait<0>();
  if (norm) {
    team_sync();
    gate.mark(2);
    norm_rows(p, w, work, gate, known, sums, inputs);
  }
  fence_for_copies();
  team_sync();
}

}  // namespace tendon::cuda::persistent
