// A CTA's share of a product's inputs, in shared memory as warpgroups read it: tiles of kBlock
// columns, rows of 128 bytes swizzled. Code is kept small here as in all phases: a layer's phases
// evict each other from the instruction cache, and what has to be fetched anew costs more than what
// is computed.
#pragma once

#include "backends/cuda/persistent_ring.cuh"

namespace tendon::cuda::persistent {

// Where chunk `c` of eight columns of a row of a tile lies.
__device__ __forceinline__ std::uint32_t chunk_at(std::uint32_t tile, int row, int c) {
  return tile + row * kRowBytes + ((c ^ row) % 8) * 16;
}

// Eight columns of a row in the background; zeros without bytes.
__device__ __forceinline__ void bring_chunk(std::uint32_t to, const std::byte* from, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes));
}

// The rows as they lie in memory; zeros past the last column. A warp has every eighth row of a
// tile, whose chunks are turned alike. What it takes is worked out before the gate opens.
struct PlainRows {
  const std::byte* x;
  std::uint32_t to;
  int chunks, real, tile, m, kept, pitch;

  __device__ __forceinline__ PlainRows(const ProductPhase& p, const Where& w, const Work& work,
                                       std::uint32_t inputs) {
    static_assert(kWarps == kSwizzleRows);
    const int warp = w.warp(), lane = w.lane(), first = work.first_block * kBlock;
    pitch = static_cast<int>(p.x.row_stride) * 2, m = p.m, kept = kept_rows(p);
    x = static_cast<const std::byte*>(p.x.data) + (first * 2 + warp * pitch + lane * 16);
    tile = row_tile_bytes(p), to = chunk_at(inputs + lane / 8 * tile, warp, lane);
    chunks = work.blocks * 8 - lane, real = (p.k - first + 7) / 8 - lane;
  }
  __device__ __forceinline__ void request(int warp) const {
    const int near = kWarps * pitch, far = (kept - kWarps) * pitch;
    std::uint32_t column = to;
#pragma unroll 1
    for (int c = 0; c < chunks; c += 32, column += 4 * tile) {
      const int bytes = c < real ? 16 : 0;
      std::uint32_t at = column;
      const std::byte* from = bytes ? x + c * 16 : x;
#pragma unroll 1
      for (int r = warp; r < m; r += kept) {
        bring_chunk(at, from, bytes);
        at += kWarps * kRowBytes, from += near;
        if (warp + kWarps < kept && r + kWarps < m) bring_chunk(at, from, bytes);
        at += kWarps * kRowBytes, from += far;
      }
    }
    device::copy_async_commit();
  }
};

// What warps beside the team fetch for a phase: the norm's columns, the operands of results.
struct Tables {
  std::uint32_t columns, operands;  // barriers, complete when it is there
  std::uint32_t parity;
  const Affine* affine;
  __device__ __forceinline__ void wait_columns() const { device::barrier_wait(columns, parity); }
  __device__ __forceinline__ void wait_operands() const { device::barrier_wait(operands, parity); }
};

// Sums and sums of squares of the rows, of all CTAs of the group.
struct RowSums {
  Inbox inbox;
  std::uint32_t address;  // of float2 [kSharers][kMostRows], the same in every CTA
  const float2* sums;
};

// Moments of rows, for the rest of a norm after the product; the warp that watches the gate finds
// them.
struct Moments {
  Inbox inbox;
  std::uint32_t rows;  // shared address: float2 [row], see moments_of()
};

// 1 / deviation of a row, and its mean times that.
__device__ __forceinline__ float2 moments_of(const ProductPhase& p, float sum, float squares) {
  const float inverse = p.inverse_k;
  const float mean = p.norm == NormKind::layer ? sum * inverse : 0.0f;
  const float d = rsqrtf(fmaxf(squares * inverse - mean * mean, 0.0f) + p.eps);
  return make_float2(d, mean * d);
}

// One chunk through the norm: (x * d - shift) * factor + addend, where shift is the mean times d.
__device__ __forceinline__ uint4 normed(uint4 x, float d, float shift, const float* factor,
                                        const float* addend) {
  float v[8];
  device::unpack_words(x, DType::bf16, v);
  uint32_t out[4];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const float4 f = reinterpret_cast<const float4*>(factor)[i];
    const float4 a = reinterpret_cast<const float4*>(addend)[i];
    out[2 * i] = device::pack_bf16(fmaf(fmaf(v[4 * i], d, -shift), f.x, a.x),
                                   fmaf(fmaf(v[4 * i + 1], d, -shift), f.y, a.y));
    out[2 * i + 1] = device::pack_bf16(fmaf(fmaf(v[4 * i + 2], d, -shift), f.z, a.z),
                                       fmaf(fmaf(v[4 * i + 3], d, -shift), f.w, a.w));
  }
  return make_uint4(out[0], out[1], out[2], out[3]);
}

__device__ __forceinline__ void store_chunk(std::uint32_t to, uint4 v) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(v.x), "r"(v.y), "r"(v.z),
               "r"(v.w));
}

// 1 / deviation of a row, and its mean times that, from its parts in all CTAs of the group.
__device__ __forceinline__ float2 moments(const ProductPhase& p, const Where& w, RowSums& sums,
                                          const RowPart& t, float sum, float squares) {
#pragma unroll 1
  for (int o = 1; o < t.lanes; o *= 2) {
    sum += __shfl_xor_sync(0xffffffffu, sum, o);
    squares += __shfl_xor_sync(0xffffffffu, squares, o);
  }
  if (!p.row_sums) {
    const int rank = w.cta & sharers(p) - 1, peer = w.place() - rank + t.part;
    if (t.row < p.m && t.part < sharers(p)) {
      push2(peer_address(sums.address + (rank * kMostRows + t.row) * 8, peer),
            peer_address(sums.inbox.barrier, peer), sum, squares);
    }
    sums.inbox.wait();
    sum = squares = 0;
#pragma unroll 1
    for (int i = 0; i < sharers(p); ++i) {
      const float2 v = sums.sums[i * kMostRows + t.row];
      sum += v.x, squares += v.y;
    }
  }
  return moments_of(p, sum, squares);
}

// Chunks that a thread has of its row at most, and how many go through the norm together.
constexpr int kMostChunks = 8, kChunksAtOnce = kMostChunks / 2;

// What a norm does to one column of a row.
__device__ __forceinline__ float2 affine_of(const ProductPhase& p, const Where& w, int row, int c) {
  const float weight = p.norm_weight ? p.norm_weight[c] : 1.0f - p.offset;
  const float bias = p.norm_bias ? p.norm_bias[c] : 0.0f;
  const float s = p.scale.data ? table_row(p.scale, row, w.iteration, w.now)[c] : 0.0f;
  const float b = p.shift.data ? table_row(p.shift, row, w.iteration, w.now)[c] : 0.0f;
  return make_float2((p.offset + weight) * (1 + s), bias * (1 + s) + b);
}

// Rows whose factors differ: seldom, so out of the way.
static __device__ __noinline__ void norm_apart(const ProductPhase& p, Where w, float2 m, int first,
                                               int chunks, std::uint32_t inputs) {
  const RowPart t(p.m, w.thread);
  const int tile = row_tile_bytes(p);
  const int turns = t.turns(most_blocks(p));
#pragma unroll 1
  for (int i = 0; i < turns; ++i) {
    const int c = t.chunk(i);
    if (c >= chunks) continue;
    uint4 y = make_uint4(0, 0, 0, 0);
    if (first + c * 8 < p.k) {
      float factor[8], addend[8];
#pragma unroll 1
      for (int e = 0; e < 8; ++e) {
        const float2 own = affine_of(p, w, t.row, first + c * 8 + e);
        factor[e] = own.x, addend[e] = own.y;
      }
      const __nv_bfloat16* x = static_cast<const __nv_bfloat16*>(p.x.data) + first + c * 8 +
                               t.row * static_cast<int>(p.x.row_stride);
      y = normed(__ldcg(reinterpret_cast<const uint4*>(x)), m.x, m.y, factor, addend);
    }
    store_chunk(chunk_at(inputs + c / 8 * tile, t.row, c), y);
  }
}

// Parts of a row's sums that a thread adds up at most: four threads or more have a row.
constexpr int kMostParts = kMostGroups / 4;

// The rows through a norm. All that a thread needs of the phases before is asked for at once; where
// it lies is worked out before the gate opens.
struct NormedRows {
  RowPart t;
  int first, chunks, real;  // of the row, the CTA's
  const uint4* x;
  const float2* sums;  // the first of the thread's; null: not known
  int step, parts;     // from one to the next; how many

  __device__ __forceinline__ NormedRows(const ProductPhase& p, const Where& w, const Work& work)
      : t(p.m, w.thread), first(work.first_block * kBlock) {
    const bool row = t.row < p.m;
    chunks = row ? work.blocks * 8 : 0, real = min(chunks, (p.k - first + 7) / 8);
    x = reinterpret_cast<const uint4*>(static_cast<const __nv_bfloat16*>(p.x.data) + first +
                                       t.row * static_cast<int>(p.x.row_stride));
    sums = p.row_sums ? reinterpret_cast<const float2*>(p.row_sums) + t.row + t.part * kMostRows
                      : nullptr;
    step = t.lanes * kMostRows, parts = row && sums ? kMostGroups / t.lanes : 0;
  }
  __device__ __forceinline__ void stage(const ProductPhase& p, const Where& w, const Gate& gate,
                                        RowSums& shared, const Tables& tables,
                                        std::uint32_t inputs) const;
  // Of the thread's part, where no phase left them; seldom, so with little code.
  __device__ __forceinline__ void sum_row(int count, float2& sum) const {
#pragma unroll 1
    for (int i = 0; i < count; ++i) {
      const int c = t.chunk(i);
      float f[8];
      device::unpack_words(c < real ? __ldcg(x + c) : make_uint4(0, 0, 0, 0), DType::bf16, f);
#pragma unroll
      for (int e = 0; e < 8; ++e) sum.x += f[e], sum.y = fmaf(f[e], f[e], sum.y);
    }
  }
};

__device__ __forceinline__ void NormedRows::stage(const ProductPhase& p, const Where& w,
                                                  const Gate& gate, RowSums& shared,
                                                  const Tables& tables,
                                                  std::uint32_t inputs) const {
  float2 part[kMostParts];
#pragma unroll
  for (int j = 0; j < kMostParts; ++j) {
    part[j] = j < parts ? __ldcg(sums + j * step) : make_float2(0, 0);
  }
  const int count = t.turns(most_blocks(p)), tile = row_tile_bytes(p);
  const float *factor = tables.affine->factor, *addend = tables.affine->addend;
  float2 m;
#pragma unroll 1
  for (int first_chunk = 0; first_chunk < count; first_chunk += kMostChunks) {
    uint4 v[kMostChunks];
#pragma unroll
    for (int i = 0; i < kMostChunks; ++i) {
      const int c = t.chunk(first_chunk + i);
      v[i] = first_chunk + i < count && c < real ? __ldcg(x + c) : make_uint4(0, 0, 0, 0);
    }
    if (first_chunk == 0) {
      gate.mark(2);
      float2 sum = make_float2(0, 0);
#pragma unroll
      for (int j = 0; j < kMostParts; ++j) sum.x += part[j].x, sum.y += part[j].y;
      if (!sums) sum_row(count, sum);
      m = moments(p, w, shared, t, sum.x, sum.y);
      if (p.late) tables.wait_operands();
      gate.mark(3);
      if (p.rows_differ) return norm_apart(p, w, m, first, chunks, inputs);
    }
#pragma unroll 1
    for (int b = first_chunk; b < first_chunk + kMostChunks; b += kChunksAtOnce) {
#pragma unroll
      for (int j = 0; j < kChunksAtOnce; ++j) {
        const int c = t.chunk(b + j);
        if (b + j < count && c < chunks) {
          uint4 y = normed(v[j], m.x, m.y, factor + c * 8, addend + c * 8);
          if (c >= real) y = make_uint4(0, 0, 0, 0);
          store_chunk(chunk_at(inputs + c / 8 * tile, t.row, c), y);
        }
        v[j] = v[j + kChunksAtOnce];
      }
    }
  }
}

// What rides along, for all warps.
__device__ __forceinline__ void lay_riders(const ProductPhase& p, const Where& w, const Work& work,
                                           const Affine& affine, std::uint32_t inputs) {
  const int chunks = work.blocks * 8, tile = row_tile_bytes(p);
#pragma unroll 1
  for (int i = w.thread; i < chunks * p.riders; i += kThreads) {
    const bool factor = i >= chunks;
    const int c = factor ? i - chunks : i;
    const float4* from = reinterpret_cast<const float4*>(factor ? affine.factor : affine.addend);
    const float4 a = from[2 * c], b = from[2 * c + 1];
    const uint4 words = make_uint4(device::pack_bf16(a.x, a.y), device::pack_bf16(a.z, a.w),
                                   device::pack_bf16(b.x, b.y), device::pack_bf16(b.z, b.w));
    std::uint32_t to = chunk_at(inputs + c / 8 * tile, kWarpRows - 1 - factor, c);
#pragma unroll 1
    for (int rows = 0; rows < tile; rows += kWarpRows * kRowBytes) store_chunk(to + rows, words);
  }
}

// Leaves the gate.
__device__ __forceinline__ void stage_inputs(const ProductPhase& p, const Where& w,
                                             const Work& work, const Gate& gate, RowSums& sums,
                                             const Tables& tables, std::uint32_t inputs) {
  if (p.norm == NormKind::none || p.riders) {
    const PlainRows rows(p, w, work, inputs);
    gate.wait();
    rows.request(w.warp());
    if (p.riders) lay_riders(p, w, work, *tables.affine, inputs);
    device::copy_async_wait<0>();
  } else {
    const NormedRows rows(p, w, work);
    if (w.thread == 0 && !rows.sums) {
      sums.inbox.expect(static_cast<std::uint32_t>(p.m * sharers(p)) * 8);
    }
    gate.wait();
    rows.stage(p, w, gate, sums, tables, inputs);
  }
  fence_for_copies();
  team_sync();
}

}  // namespace tendon::cuda::persistent
