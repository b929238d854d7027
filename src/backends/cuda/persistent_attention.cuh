// The attention phase: a cluster owns 16 packed rows of one sample and key head, its CTAs a range
// of the keys each; partial results are joined through the cluster's shared memory in a fixed
// order.
#pragma once

#include <cooperative_groups.h>

#include "backends/cuda/keys.cuh"
#include "backends/cuda/persistent_product.cuh"

namespace tendon::cuda::persistent {

constexpr int kTileRows = 16, kChunk = 64;

template <int D>
struct AttentionLayout {
  static constexpr int kPitch = D + 8, kScorePitch = kChunk + 4, kWeightPitch = kChunk + 8;
  static constexpr int kPieceElements = kChunk * kPitch;  // k or v of a chunk
  static constexpr int kStage = 2 * kPieceElements * 2;   // bytes
  static constexpr int kQuery = 2 * kStage;               // offsets from here on, bytes
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
  int limited;                       // the first key of the piece that `visible` limits
};

__device__ inline AttentionUnit attention_unit(const AttentionArgs& args, const Where& w,
                                               int unit) {
  const AttentionArgs a = args;
  const int group = a.rows * (a.heads / a.key_heads), tiles = (group + kTileRows - 1) / kTileRows;
  AttentionUnit u;
  u.first_row = unit % tiles * kTileRows;
  u.rows = min(kTileRows, group - u.first_row);
  u.key_head = unit / tiles % a.key_heads;
  u.b = unit / tiles / a.key_heads;
  u.first = key_count(a, 0, u.b);
  u.last = key_count(a, 1, u.b);
  u.limited = a.piece[1].count ? u.first : 0;
  const int all = u.first + u.last, each = ((all + kCluster - 1) / kCluster + 7) / 8 * 8;
  u.begin = min(all, w.rank * each);
  u.end = min(all, u.begin + each);
  return u;
}

__device__ inline int attention_units(const AttentionArgs& a) {
  const int group = a.rows * (a.heads / a.key_heads);
  return (group + kTileRows - 1) / kTileRows * a.key_heads * a.batch;
}

enum class Fetch : uint8_t { cached, rest, all };  // keys of the first piece; the others; both

// Where a thread's keys and values come from: its column of 16 bytes is the same in all rows.
template <class T>
struct Source {
  const T* k0;
  const T* k1;
  const T* v0;
  const T* v1;
  int k_row0, k_row1, v_row0, v_row1;
  bool inside;
};

template <class T, int D>
__device__ Source<T> source(const AttentionArgs& args, const AttentionUnit& u) {
  const AttentionArgs a = args;
  const int c = threadIdx.x % (D / 8);
  const KeyPiece &p = a.piece[0], &q = a.piece[1];
  return {static_cast<const T*>(p.k) + u.b * p.k_batch + u.key_head * p.k_head + c * 8,
          static_cast<const T*>(q.k) + u.b * q.k_batch + u.key_head * q.k_head + c * 8,
          static_cast<const T*>(p.v) + u.b * p.v_batch + u.key_head * p.v_head + c * 8,
          static_cast<const T*>(q.v) + u.b * q.v_batch + u.key_head * q.v_head + c * 8,
          static_cast<int>(p.k_row),
          static_cast<int>(q.k_row),
          static_cast<int>(p.v_row),
          static_cast<int>(q.v_row),
          c < a.width / 8};
}

// Keys and values of a chunk; zeros past the end.
template <class T, int D>
__device__ void fetch_chunk(const Source<T>& from, const AttentionUnit& u, int chunk, Fetch what,
                            std::byte* region) {
  using L = AttentionLayout<D>;
  constexpr int kLanes = D / 8, kStep = kThreads / kLanes;
  const int c = threadIdx.x % kLanes, r0 = threadIdx.x / kLanes;
  T* k = reinterpret_cast<T*>(region + chunk % 2 * L::kStage) + r0 * L::kPitch + c * 8;
  int key = u.begin + chunk * kChunk + r0;
#pragma unroll 2
  for (int i = 0; i < kChunk / kStep; ++i, key += kStep, k += kStep * L::kPitch) {
    const bool second = key >= u.first, real = from.inside && key < u.end;
    if (what != Fetch::all && second != (what == Fetch::rest)) continue;
    const int row = second ? key - u.first : key;
    const T* from_k =
        second ? from.k1 + int64_t{row} * from.k_row1 : from.k0 + int64_t{row} * from.k_row0;
    const T* from_v =
        second ? from.v1 + int64_t{row} * from.v_row1 : from.v0 + int64_t{row} * from.v_row0;
    device::copy_async(k, real ? from_k : nullptr);
    device::copy_async(k + L::kPieceElements, real ? from_v : nullptr);
  }
}

template <class T, int D>
__device__ void fetch_queries(const AttentionArgs& args, const AttentionUnit& u,
                              std::byte* region) {
  using L = AttentionLayout<D>;
  const AttentionArgs a = args;
  T* q = reinterpret_cast<T*>(region + L::kQuery);
#pragma unroll 1
  for (int i = threadIdx.x; i < kTileRows * D / 8; i += kThreads) {
    const int r = i / (D / 8), c = i % (D / 8), row = u.first_row + r;
    int64_t at = -1;
    if (r < u.rows && c < a.width / 8) {
      const int h = u.key_head * (a.heads / a.key_heads) + row / a.rows;
      at = u.b * a.q_batch + row % a.rows * a.q_row + h * a.q_head + c * 8;
    }
    if (a.q_dtype == a.piece[0].k_dtype || at < 0) {
      device::copy_async(q + r * L::kPitch + c * 8,
                         at < 0 ? nullptr : static_cast<const T*>(a.q) + at);
    } else {
      float v[8];
#pragma unroll
      for (int e = 0; e < 8; ++e) v[e] = load_fresh(a.q, at + e, a.q_dtype);
      device::store_vector<8>(q + r * L::kPitch + c * 8, 0, a.piece[0].k_dtype, v);
    }
  }
}

// What scores are made with, in registers.
struct Scoring {
  float scale;  // to units of log2
  const float* bias0;
  const float* bias1;
  const int32_t* visible;
  int rows;  // queries a head
};

// Scores of a chunk: warp w has keys 8 w .. 8 w + 7. Scaled, biased, in units of log2.
template <class T, int D>
__device__ void chunk_scores(const Scoring& a, const AttentionUnit& u, int chunk,
                             std::byte* region) {
  using L = AttentionLayout<D>;
  constexpr float kLog2e = 1.4426950408889634f;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const T* k = reinterpret_cast<const T*>(region + chunk % 2 * L::kStage) + warp * 8 * L::kPitch;
  const T* q = reinterpret_cast<const T*>(region + L::kQuery);
  float s[4][4] = {};
#pragma unroll
  for (int d = 0; d < D; d += 32) {
    uint32_t keys[4], rows[2][4];
    device::ldmatrix(keys, k + lane % 8 * L::kPitch + d + lane / 8 * 8);
    device::ldmatrix(rows[0], q + lane % 16 * L::kPitch + d + lane / 16 * 8);
    device::ldmatrix(rows[1], q + lane % 16 * L::kPitch + d + 16 + lane / 16 * 8);
    device::mma<T>(s[d / 32 % 2 * 2], rows[0], keys[0], keys[1]);
    device::mma<T>(s[d / 32 % 2 * 2 + 1], rows[1], keys[2], keys[3]);
  }
  float* to = reinterpret_cast<float*>(region + L::kScores);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int r = lane / 4 + i / 2 * 8, c = warp * 8 + lane % 4 * 2 + i % 2;
    const int row = u.first_row + r, key = u.begin + chunk * kChunk + c;
    float x = (s[0][i] + s[1][i] + s[2][i] + s[3][i]) * a.scale;
    if (a.bias0 && key < min(u.end, u.first)) x += a.bias0[key] * kLog2e;
    if (a.bias1 && key >= u.first && key < u.end) x += a.bias1[key - u.first] * kLog2e;
    if (key >= u.end || r >= u.rows) x = -INFINITY;
    if (a.visible && r < u.rows && key - u.limited >= a.visible[row % a.rows]) x = -INFINITY;
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
__device__ void join(const AttentionArgs& args, const AttentionUnit& u, const Where& w,
                     const float (&o)[D / 64][4], std::byte* region) {
  const AttentionArgs a = args;
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
  constexpr int kMine = D / kCluster / 4;  // vectors of a row
  for (int i = threadIdx.x; i < u.rows * kMine; i += kThreads) {
    const int r = i / kMine, c = w.rank * (D / kCluster) + i % kMine * 4;
    float top[kCluster], part[kCluster];
    float4 value[kCluster];
#pragma unroll
    for (int rank = 0; rank < kCluster; ++rank) {
      const std::byte* theirs = cluster.map_shared_rank(region, rank);
      const float* state = reinterpret_cast<const float*>(theirs + L::kRows);
      top[rank] = state[r], part[rank] = state[kTileRows + r];
      value[rank] = *reinterpret_cast<const float4*>(reinterpret_cast<const float*>(theirs) +
                                                     r * L::kOutPitch + c);
    }
    const float most = fmaxf(fmaxf(top[0], top[1]), fmaxf(top[2], top[3]));
    const float base = most == -INFINITY ? 0.0f : most;
    float4 sum = make_float4(0, 0, 0, 0);
    float total = 0;
#pragma unroll
    for (int rank = 0; rank < kCluster; ++rank) {
      const float weight = exp2f(top[rank] - base);
      sum.x += weight * value[rank].x, sum.y += weight * value[rank].y;
      sum.z += weight * value[rank].z, sum.w += weight * value[rank].w;
      total += weight * part[rank];
    }
    const float inverse = total > 0 ? 1.0f / total : 0.0f;
    const int row = u.first_row + r, head = row / a.rows;
    const int h = u.key_head * (a.heads / a.key_heads) + head;
    const int64_t to = u.b * a.out_batch + (row - head * a.rows) * a.out_row + h * a.out_head + c;
    const float out[4] = {sum.x * inverse, sum.y * inverse, sum.z * inverse, sum.w * inverse};
    for (int e = 0; e < 4; ++e) {
      if (c + e < a.width) device::store(a.out, to + e, a.out_dtype, out[e]);
    }
  }
}

// What can be fetched before the phase may begin: keys that no phase of this kernel writes.
template <class T, int D>
__device__ __noinline__ void prepare_attention(const AttentionArgs& a, const Where& w,
                                               std::byte* region) {
  if (w.cluster >= attention_units(a)) return;
  const AttentionUnit u = attention_unit(a, w, w.cluster);
  const Source<T> from = source<T, D>(a, u);
#pragma unroll 1
  for (int chunk = 0; chunk < 2; ++chunk) fetch_chunk<T, D>(from, u, chunk, Fetch::cached, region);
}

template <class T, int D>
__device__ __noinline__ void run_attention(const AttentionArgs& a, const Where& w,
                                           std::byte* region, bool ready, bool closes) {
  using L = AttentionLayout<D>;
  const int units = attention_units(a);
  for (int unit = w.cluster; unit < units; unit += w.clusters) {
    const AttentionUnit u = attention_unit(a, w, unit);
    const int chunks = (u.end - u.begin + kChunk - 1) / kChunk;
    const Source<T> from = source<T, D>(a, u);
    const KeyPiece &piece0 = a.piece[0], &piece1 = a.piece[1];
    const Scoring scoring{
        a.scale * 1.4426950408889634f, piece0.bias ? piece0.bias + u.b * piece0.count : nullptr,
        piece1.bias ? piece1.bias + u.b * piece1.count : nullptr, a.visible, a.rows};
    const Fetch what = unit != w.cluster || !ready ? Fetch::all : Fetch::rest;
    fetch_queries<T, D>(a, u, region);
#pragma unroll 1
    for (int chunk = 0; chunk < 2; ++chunk) {
      fetch_chunk<T, D>(from, u, chunk, what, region);
      device::copy_async_commit();
    }
    if (threadIdx.x < kTileRows) {
      float* state = reinterpret_cast<float*>(region + L::kRows);
      state[threadIdx.x] = -INFINITY;
      state[kTileRows + threadIdx.x] = 0;
    }
    float o[D / 64][4] = {};
#pragma unroll 1
    for (int chunk = 0; chunk < chunks; ++chunk) {
      device::copy_async_wait<1>();
      __syncthreads();
      chunk_scores<T, D>(scoring, u, chunk, region);
      __syncthreads();
      chunk_weights<T, D>(region);
      __syncthreads();
      chunk_values<T, D>(chunk, region, o);
      __syncthreads();
      if (chunk + 2 < chunks) fetch_chunk<T, D>(from, u, chunk + 2, Fetch::all, region);
      device::copy_async_commit();
    }
    device::copy_async_wait<0>();
    __syncthreads();
    join<D>(a, u, w, o, region);
    if (closes || unit + w.clusters < units) {
      cooperative_groups::this_cluster().sync();
    }
  }
}

}  // namespace tendon::cuda::persistent
