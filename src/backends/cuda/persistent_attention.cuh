// The attention phase: a cluster owns 16 packed rows of one sample and key head, its CTAs a range of the
// keys each; partial results are joined through the cluster's shared memory in a fixed order.
#pragma once

#include <cooperative_groups.h>

#include "backends/cuda/keys.cuh"
#include "backends/cuda/persistent_product.cuh"

namespace tendon::cuda::persistent {

constexpr int kTileRows = 16, kChunk = 64;

template <int D>
struct AttentionLayout {
  static constexpr int kPitch = D + 8, kScorePitch = kChunk + 4, kWeightPitch = kChunk + 8;
  static constexpr int kPieceElements = kChunk * kPitch;   // k or v of a chunk
  static constexpr int kStage = 2 * kPieceElements * 2;    // bytes
  static constexpr int kQuery = 2 * kStage;                // offsets from here on, bytes
  static constexpr int kScores = kQuery + kTileRows * kPitch * 2;
  static constexpr int kWeights = kScores + kTileRows * kScorePitch * 4;
  static constexpr int kRows = kWeights + kTileRows * kWeightPitch * 2;  // top, total, keep
  static constexpr int kBytes = kRows + 3 * kTileRows * 4;
  static constexpr int kOutPitch = D + 4;  // the partial result takes the first stage's place
  static_assert(kBytes <= kRegionBytes);
};

struct AttentionUnit {
  int b, key_head, first_row, rows;  // packed rows [first_row, first_row + rows)
  int first, last;                   // keys of either piece
  int begin, end;                    // this CTA's keys of the concatenation
};

__device__ inline AttentionUnit attention_unit(const AttentionArgs& a, const Where& w, int unit) {
  const int group = a.rows * (a.heads / a.key_heads), tiles = (group + kTileRows - 1) / kTileRows;
  AttentionUnit u;
  u.first_row = unit % tiles * kTileRows;
  u.rows = min(kTileRows, group - u.first_row);
  u.key_head = unit / tiles % a.key_heads;
  u.b = unit / tiles / a.key_heads;
  u.first = key_count(a, 0, u.b);
  u.last = key_count(a, 1, u.b);
  const int all = u.first + u.last, each = ((all + w.cluster_size - 1) / w.cluster_size + 7) / 8 * 8;
  u.begin = min(all, w.rank * each);
  u.end = min(all, u.begin + each);
  return u;
}

__device__ inline int attention_units(const AttentionArgs& a) {
  const int group = a.rows * (a.heads / a.key_heads);
  return (group + kTileRows - 1) / kTileRows * a.key_heads * a.batch;
}

// Rows of a chunk's keys and values that lie in piece `which`; zeros past the end go with piece 1.
template <class T, int D>
__device__ void fetch_chunk(const AttentionArgs& a, const AttentionUnit& u, int chunk, int which,
                            std::byte* region) {
  using L = AttentionLayout<D>;
  T* k = reinterpret_cast<T*>(region + chunk % 2 * L::kStage);
  T* v = k + L::kPieceElements;
  const int j = u.begin + chunk * kChunk, width = a.width / 8;
  for (int i = threadIdx.x; i < kChunk * D / 8; i += kThreads) {
    const int r = i / (D / 8), c = i % (D / 8), key = j + r;
    const int piece = key >= u.first;
    if (piece != which) continue;
    const T* from_k = nullptr;
    const T* from_v = nullptr;
    if (key < u.end && c < width) {
      const KeyPiece& p = a.piece[piece];
      const int row = piece ? key - u.first : key;
      from_k = static_cast<const T*>(p.k) + u.b * p.k_batch + row * p.k_row +
               u.key_head * p.k_head + c * 8;
      from_v = static_cast<const T*>(p.v) + u.b * p.v_batch + row * p.v_row +
               u.key_head * p.v_head + c * 8;
    }
    device::copy_async(k + r * L::kPitch + c * 8, from_k);
    device::copy_async(v + r * L::kPitch + c * 8, from_v);
  }
}

template <class T, int D>
__device__ void fetch_queries(const AttentionArgs& a, const AttentionUnit& u, std::byte* region) {
  using L = AttentionLayout<D>;
  T* q = reinterpret_cast<T*>(region + L::kQuery);
  for (int i = threadIdx.x; i < kTileRows * D / 8; i += kThreads) {
    const int r = i / (D / 8), c = i % (D / 8), row = u.first_row + r;
    const T* from = nullptr;
    if (r < u.rows && c < a.width / 8) {
      const int h = u.key_head * (a.heads / a.key_heads) + row / a.rows;
      from = static_cast<const T*>(a.q) + u.b * a.q_batch + row % a.rows * a.q_row + h * a.q_head + c * 8;
    }
    device::copy_async(q + r * L::kPitch + c * 8, from);
  }
}

// Scores of a chunk: warp w has keys 8 w .. 8 w + 7. Scaled, biased, in units of log2.
template <class T, int D>
__device__ void chunk_scores(const AttentionArgs& a, const AttentionUnit& u, int chunk,
                             std::byte* region) {
  using L = AttentionLayout<D>;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const T* k = reinterpret_cast<const T*>(region + chunk % 2 * L::kStage) + warp * 8 * L::kPitch;
  const T* q = reinterpret_cast<const T*>(region + L::kQuery);
  float s[2][4] = {};
#pragma unroll
  for (int d = 0; d < D; d += 32) {
    uint32_t keys[4], rows[2][4];
    device::ldmatrix(keys, k + lane % 8 * L::kPitch + d + lane / 8 * 8);
    device::ldmatrix(rows[0], q + lane % 16 * L::kPitch + d + lane / 16 * 8);
    device::ldmatrix(rows[1], q + lane % 16 * L::kPitch + d + 16 + lane / 16 * 8);
    device::mma<T>(s[0], rows[0], keys[0], keys[1]);
    device::mma<T>(s[1], rows[1], keys[2], keys[3]);
  }
  float* to = reinterpret_cast<float*>(region + L::kScores);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int r = lane / 4 + i / 2 * 8, c = warp * 8 + lane % 4 * 2 + i % 2;
    const int row = u.first_row + r, key = u.begin + chunk * kChunk + c;
    float x = -INFINITY;
    if (r < u.rows && key < u.end && key < seen_keys(a, row % a.rows, u.first, u.last)) {
      const int second = key >= u.first, at = second ? key - u.first : key;
      x = (s[0][i] + s[1][i]) * a.scale;
      if (a.piece[second].bias) x += a.piece[second].bias[int64_t{u.b} * a.piece[second].count + at];
      x *= 1.4426950408889634f;
    }
    to[r * L::kScorePitch + c] = x;
  }
}

// Weights of a chunk from its scores: warp w has rows 2 w and 2 w + 1.
template <class T, int D>
__device__ void chunk_weights(std::byte* region) {
  using L = AttentionLayout<D>;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float* state = reinterpret_cast<float*>(region + L::kRows);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int r = 2 * warp + i;
    const float2 s = *reinterpret_cast<const float2*>(
        reinterpret_cast<const float*>(region + L::kScores) + r * L::kScorePitch + 2 * lane);
    const float before = state[r], top = fmaxf(before, device::warp_max(fmaxf(s.x, s.y)));
    const float base = top == -INFINITY ? 0.0f : top;
    const float x = exp2f(s.x - base), y = exp2f(s.y - base), keep = exp2f(before - base);
    const float total = device::warp_sum(x + y);
    reinterpret_cast<uint32_t*>(region + L::kWeights)[r * L::kWeightPitch / 2 + lane] =
        device::pack<T>(x, y);
    __syncwarp();
    if (lane == 0) {
      state[r] = top;
      state[kTileRows + r] = state[kTileRows + r] * keep + total;
      state[2 * kTileRows + r] = keep;
    }
  }
}

// o += weights v: warp w has the columns [w D / 8, (w + 1) D / 8).
template <class T, int D>
__device__ void chunk_values(int chunk, const std::byte* region, float (&o)[D / 64][4]) {
  using L = AttentionLayout<D>;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const T* v = reinterpret_cast<const T*>(region + chunk % 2 * L::kStage) + L::kPieceElements +
               warp * (D / 8);
  const T* weights = reinterpret_cast<const T*>(region + L::kWeights);
  const float* keep = reinterpret_cast<const float*>(region + L::kRows) + 2 * kTileRows;
  const float upper = keep[lane / 4], lower = keep[lane / 4 + 8];
#pragma unroll
  for (auto& tile : o) tile[0] *= upper, tile[1] *= upper, tile[2] *= lower, tile[3] *= lower;
#pragma unroll
  for (int n = 0; n < kChunk; n += 16) {
    uint32_t rows[4];
    device::ldmatrix(rows, weights + lane % 16 * L::kWeightPitch + n + lane / 16 * 8);
#pragma unroll
    for (int d = 0; d < D / 8; d += 16) {
      uint32_t values[4];
      device::ldmatrix_transposed(values, v + (n + lane % 16) * L::kPitch + d + lane / 16 * 8);
      device::mma<T>(o[d / 8], rows, values[0], values[1]);
      device::mma<T>(o[d / 8 + 1], rows, values[2], values[3]);
    }
  }
}

// Joins the cluster's partial results; each CTA writes its share of the columns.
template <int D>
__device__ void join(const AttentionArgs& a, const AttentionUnit& u, const Where& w,
                     const float (&o)[D / 64][4], std::byte* region) {
  using L = AttentionLayout<D>;
  namespace cg = cooperative_groups;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float* mine = reinterpret_cast<float*>(region);
#pragma unroll
  for (int t = 0; t < D / 64; ++t) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int r = lane / 4 + i / 2 * 8, c = warp * (D / 8) + t * 8 + lane % 4 * 2 + i % 2;
      mine[r * L::kOutPitch + c] = o[t][i];
    }
  }
  cg::cluster_group cluster = cg::this_cluster();
  cluster.sync();
  const int columns = D / w.cluster_size;
  for (int i = threadIdx.x; i < u.rows * columns; i += kThreads) {
    const int r = i / columns, c = w.rank * columns + i % columns;
    float top = -INFINITY, sum = 0, total = 0;
    for (int rank = 0; rank < w.cluster_size; ++rank) {
      top = fmaxf(top, reinterpret_cast<const float*>(cluster.map_shared_rank(region, rank) + L::kRows)[r]);
    }
    const float base = top == -INFINITY ? 0.0f : top;
    for (int rank = 0; rank < w.cluster_size; ++rank) {
      const std::byte* theirs = cluster.map_shared_rank(region, rank);
      const float* state = reinterpret_cast<const float*>(theirs + L::kRows);
      const float weight = exp2f(state[r] - base);
      sum += weight * reinterpret_cast<const float*>(theirs)[r * L::kOutPitch + c];
      total += weight * state[kTileRows + r];
    }
    const int row = u.first_row + r, h = u.key_head * (a.heads / a.key_heads) + row / a.rows;
    if (c < a.width) {
      device::store(a.out, u.b * a.out_batch + row % a.rows * a.out_row + h * a.out_head + c, a.out_dtype,
                    total > 0 ? sum / total : 0.0f);
    }
  }
  cluster.sync();
}

// What can be fetched before the phase may begin: keys that no phase of this kernel writes.
template <class T, int D>
__device__ __noinline__ void prepare_attention(const AttentionArgs& a, const Where& w,
                                               std::byte* region) {
  if (w.cluster >= attention_units(a)) return;
  const AttentionUnit u = attention_unit(a, w, w.cluster);
  fetch_chunk<T, D>(a, u, 0, 0, region);
  fetch_chunk<T, D>(a, u, 1, 0, region);
}

template <class T, int D>
__device__ __noinline__ void run_attention(const AttentionArgs& a, const Where& w, std::byte* region,
                                           bool ready) {
  using L = AttentionLayout<D>;
  const int units = attention_units(a);
  for (int unit = w.cluster; unit < units; unit += w.clusters) {
    const AttentionUnit u = attention_unit(a, w, unit);
    const int chunks = (u.end - u.begin + kChunk - 1) / kChunk;
    if (unit != w.cluster || !ready) {
      fetch_chunk<T, D>(a, u, 0, 0, region);
      fetch_chunk<T, D>(a, u, 1, 0, region);
    }
    fetch_queries<T, D>(a, u, region);
    fetch_chunk<T, D>(a, u, 0, 1, region);
    device::copy_async_commit();
    fetch_chunk<T, D>(a, u, 1, 1, region);
    device::copy_async_commit();
    if (threadIdx.x < kTileRows) {
      float* state = reinterpret_cast<float*>(region + L::kRows);
      state[threadIdx.x] = -INFINITY;
      state[kTileRows + threadIdx.x] = 0;
    }
    float o[D / 64][4] = {};
    for (int chunk = 0; chunk < chunks; ++chunk) {
      device::copy_async_wait<1>();
      __syncthreads();
      chunk_scores<T, D>(a, u, chunk, region);
      __syncthreads();
      chunk_weights<T, D>(region);
      __syncthreads();
      chunk_values<T, D>(chunk, region, o);
      __syncthreads();
      if (chunk + 2 < chunks) {
        fetch_chunk<T, D>(a, u, chunk + 2, 0, region);
        fetch_chunk<T, D>(a, u, chunk + 2, 1, region);
      }
      device::copy_async_commit();
    }
    device::copy_async_wait<0>();
    __syncthreads();
    join<D>(a, u, w, o, region);
  }
}

}  // namespace tendon::cuda::persistent
