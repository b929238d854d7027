// The attention phase: 16 packed rows of one sample and key head are a unit; `span` CTAs of a
// cluster have a range of its keys each. Scores: warps share the keys. Results: warps share the
// columns. Keys and values go from memory to registers. Partial results are joined through the
// cluster's shared memory in a fixed order.
#pragma once

#include "backends/cuda/keys.cuh"
#include "backends/cuda/persistent_product.cuh"

namespace tendon::cuda::persistent {

constexpr int kTileRows = 16;
constexpr int kChunk = 192;                     // keys of a CTA at a time
constexpr int kKeyTiles = kChunk / 8 / kWarps;  // tiles of 8 keys a warp scores

template <int D>
struct AttentionLayout {
  static constexpr int kQueryPitch = 2 * D + 64;                      // bytes
  static constexpr int kWeightPitch = kChunk + 8, kOutPitch = D + 4;  // elements
  static constexpr int kWeights = kTileRows * kQueryPitch;            // offsets, bytes
  static constexpr int kOut = kWeights + kTileRows * kWeightPitch * 2;
  static constexpr int kTops = kOut + kTileRows * kOutPitch * 4;   // [warps][rows]
  static constexpr int kTotals = kTops + kWarps * kTileRows * 4;   // [warps][rows]
  static constexpr int kState = kTotals + kWarps * kTileRows * 4;  // top, total of the CTA
  static constexpr int kRowFactors = kState + 2 * kTileRows * 4;
  static constexpr int kKeys = kRowFactors + kTileRows * 4;  // [keys] factor and addend of scores
  static constexpr int kBytes = kKeys + kChunk * 8;
};

struct AttentionUnit {
  int b, key_head, first_head, first_row, rows;  // packed rows [first_row, first_row + rows)
  int first, last;                               // keys of either piece
  int begin, end;                                // this CTA's keys of the concatenation
  int limited;                                   // the first key of the piece that `visible` limits
};

__device__ inline AttentionUnit attention_unit(const AttentionArgs& a, int unit, int part,
                                               int span) {
  const int group = a.rows * (a.heads / a.key_heads), tiles = (group + kTileRows - 1) / kTileRows;
  AttentionUnit u;
  u.first_row = unit % tiles * kTileRows;
  u.rows = min(kTileRows, group - u.first_row);
  u.key_head = unit / tiles % a.key_heads;
  u.b = unit / tiles / a.key_heads;
  u.first_head = u.key_head * (a.heads / a.key_heads);
  u.first = key_count(a, 0, u.b);
  u.last = key_count(a, 1, u.b);
  u.limited = a.piece[1].count ? u.first : 0;
  const int all = u.first + u.last, each = ((all + span - 1) / span + 15) / 16 * 16;
  u.begin = min(all, part * each);
  u.end = min(all, u.begin + each);
  return u;
}

// Keys or values of a key head as they lie: key n of the concatenation. `second` is where the key
// of number 0 would lie if all lay as those of the second piece.
template <class T>
struct Lines {
  const T* first;
  const T* second;
  int row0, row1, count0;
  __device__ __forceinline__ const T* at(int n) const {
    const bool one = n < count0;
    return (one ? first : second) + int64_t{n} * (one ? row0 : row1);
  }
};
template <class T>
__device__ Lines<T> key_lines(const AttentionArgs& a, const AttentionUnit& u) {
  const KeyPiece &p = a.piece[0], &q = a.piece[1];
  return {static_cast<const T*>(p.k) + u.b * p.k_batch + u.key_head * p.k_head,
          static_cast<const T*>(q.k) + u.b * q.k_batch + u.key_head * q.k_head - u.first * q.k_row,
          static_cast<int>(p.k_row), static_cast<int>(q.k_row), u.first};
}
template <class T>
__device__ Lines<T> value_lines(const AttentionArgs& a, const AttentionUnit& u) {
  const KeyPiece &p = a.piece[0], &q = a.piece[1];
  return {static_cast<const T*>(p.v) + u.b * p.v_batch + u.key_head * p.v_head,
          static_cast<const T*>(q.v) + u.b * q.v_batch + u.key_head * q.v_head - u.first * q.v_row,
          static_cast<int>(p.v_row), static_cast<int>(q.v_row), u.first};
}

template <class T, int D>
__device__ __forceinline__ void fetch_queries(const AttentionArgs& a, const AttentionUnit& u,
                                              float inverse_rows, int thread, std::byte* region) {
  using L = AttentionLayout<D>;
  const T* q = static_cast<const T*>(a.q);
  for (int i = thread; i < kTileRows * D / 8; i += kThreads) {
    const int r = i / (D / 8), c = i % (D / 8) * 8, row = u.first_row + r;
    const bool real = r < u.rows && c < a.width;
    const int head = divide(row, inverse_rows), h = u.first_head + head;
    const int64_t at = u.b * a.q_batch + (row - head * a.rows) * a.q_row + h * a.q_head + c;
    device::copy_async(region + r * L::kQueryPitch + c * 2, real ? q + at : nullptr);
  }
  device::copy_async_commit();
}

__device__ inline float factor_of(const RowFactor& f, int row) {
  float sum = 0;
#pragma unroll 8
  for (int p = 0; p < f.parts; ++p) sum += __ldcg(f.sums + p * f.stride + row);
  return rsqrtf(sum * f.inverse_width + f.eps);
}

// What a norm left to do to the unit's rows; 1 where there is none.
__device__ __forceinline__ void fetch_row_factors(const AttentionPhase& p, const AttentionUnit& u,
                                                  int t, float* to) {
  if (t >= kTileRows) return;
  const int rows = p.args.rows;
  to[t] = p.q.sums && t < u.rows ? factor_of(p.q, u.b * rows + (u.first_row + t) % rows) : 1.0f;
}

// What a key's score is multiplied with, to units of log2, and what is added to it.
__device__ __forceinline__ void fetch_key_terms(const AttentionPhase& p, const AttentionUnit& u,
                                                int chunk, int t, float2* to) {
  constexpr float kLog2e = 1.4426950408889634f;
  if (t >= kChunk) return;
  const int key = chunk + t, own = key - u.first;
  float2 v = make_float2(p.args.scale * kLog2e, key < u.end ? 0.0f : -INFINITY);
  if (key < u.end) {
    const KeyPiece& piece = p.args.piece[own >= 0];
    const int n = own >= 0 ? own : key;
    if (piece.bias) v.y = piece.bias[u.b * piece.count + n] * kLog2e;
    if (own >= 0 && p.own_keys.sums) v.x *= factor_of(p.own_keys, u.b * piece.count + own);
  }
  to[t] = v;
}

// Keys of a warp's tiles: lane / 4 is the key, 8 (lane % 4) .. + 7 the elements of a block of 32.
// Which keys to fetch: those that no phase writes, before the phase may begin, then the rest.
struct Pass {
  int cached_before;  // keys below it are of the first kind
  bool rest;
  __device__ bool takes(int last_key) const { return (last_key < cached_before) != rest; }
};

// Keys past the end repeat the last one, elements past the width the last of them.
template <class T, int D>
__device__ __forceinline__ void fetch_keys(const Lines<T>& keys, const AttentionUnit& u, int width,
                                           int chunk, int tiles, int thread, const Pass& pass,
                                           uint4 (&k)[kKeyTiles][D / kBlock]) {
  const int warp = thread / 32, lane = thread % 32;
#pragma unroll
  for (int i = 0; i < kKeyTiles; ++i) {
    const int tile = warp + i * kWarps;
    if (tile >= tiles || !pass.takes(chunk + tile * 8 + 7)) continue;
    const T* from = keys.at(min(chunk + tile * 8 + lane / 4, u.end - 1));
#pragma unroll
    for (int d = 0; d < D / kBlock; ++d) {
      const int c = min(d * kBlock + lane % 4 * 8, width - 8);
      k[i][d] = __ldcg(reinterpret_cast<const uint4*>(from + c));
    }
  }
}

template <class T, int D>
__device__ __forceinline__ void scores(const std::byte* region, int tiles, int thread,
                                       const uint4 (&k)[kKeyTiles][D / kBlock],
                                       float (&s)[kKeyTiles][4]) {
  using L = AttentionLayout<D>;
  const int lane = thread % 32;
  const std::byte* q = region + lane / 4 * L::kQueryPitch + lane % 4 * 16;
#pragma unroll
  for (int d = 0; d < D / kBlock; ++d) {
    uint32_t rows[2][4];
    place(*reinterpret_cast<const uint4*>(q + d * 64),
          *reinterpret_cast<const uint4*>(q + 8 * L::kQueryPitch + d * 64), rows[0], rows[1]);
#pragma unroll
    for (int i = 0; i < kKeyTiles; ++i) {
      device::mma<T>(s[i], rows[0], k[i][d].x, k[i][d].y);
      device::mma<T>(s[i], rows[1], k[i][d].z, k[i][d].w);
    }
  }
}

// Values of 64 keys: of each 16, a lane has keys 2 (lane % 4) + 0, 1, 8, 9 and the columns
// (D / 64) (lane / 4) .. of its warp's D / 8.
template <int D>
struct Values {
  uint32_t word[4][4][D / 128];  // [16 keys][key][two columns]
};
// Keys past the end repeat the last one, whose weight is then 0.
template <class T, int D>
__device__ __forceinline__ void fetch_values(const Lines<T>& values, const AttentionUnit& u,
                                             int width, int key, int thread, Values<D>& v) {
  const int warp = thread / 32, lane = thread % 32;
  const int c = min(warp * (D / 8) + lane / 4 * (D / 64), width - D / 64);
  const Lines<T> from{values.first + c, values.second + c, values.row0, values.row1, values.count0};
#pragma unroll
  for (int s = 0; s < 4; ++s) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const T* at = from.at(min(key + s * 16 + lane % 4 * 2 + e % 2 + e / 2 * 8, u.end - 1));
      if constexpr (D == 256) {
        const uint2 w = __ldcg(reinterpret_cast<const uint2*>(at));
        v.word[s][e][0] = w.x, v.word[s][e][1] = w.y;
      } else {
        v.word[s][e][0] = __ldcg(reinterpret_cast<const unsigned*>(at));
      }
    }
  }
}

// o += weights v for 64 keys, of which `left` are wanted.
template <class T, int D>
__device__ __forceinline__ void add_values(const std::byte* region, int key, int left, int lane,
                                           const Values<D>& v, float (&o)[D / 64][4]) {
  using L = AttentionLayout<D>;
  const T* weights = reinterpret_cast<const T*>(region + L::kWeights) +
                     lane % 16 * L::kWeightPitch + lane / 16 * 8 + key;
#pragma unroll
  for (int s = 0; s < 4; ++s) {
    if (s * 16 >= left) break;
    uint32_t rows[4];
    device::ldmatrix(rows, weights + s * 16);
#pragma unroll
    for (int i = 0; i < D / 64; ++i) {
      const int select = i % 2 ? 0x7632 : 0x5410;
      const uint32_t b0 = __byte_perm(v.word[s][0][i / 2], v.word[s][1][i / 2], select);
      const uint32_t b1 = __byte_perm(v.word[s][2][i / 2], v.word[s][3][i / 2], select);
      device::mma<T>(o[i], rows, b0, b1);
    }
  }
}

__device__ inline float quad_max(float v) {
  v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 1));
  return fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 2));
}
__device__ inline float quad_sum(float v) {
  v += __shfl_xor_sync(0xffffffffu, v, 1);
  return v + __shfl_xor_sync(0xffffffffu, v, 2);
}

// Rows lane / 4 and lane / 4 + 8 of the unit: the largest score so far and the sum of weights.
struct Running {
  float top[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};
};

// Weights of a chunk from its scores, into shared memory; o and totals so far are scaled to the
// new tops. Each warp's part of the row sums is added by finish_weights() after a barrier.
template <class T, int D>
__device__ __forceinline__ void weigh(int tiles, int thread, std::byte* region,
                                      float (&s)[kKeyTiles][4], Running& run,
                                      float (&o)[D / 64][4]) {
  using L = AttentionLayout<D>;
  const int warp = thread / 32, lane = thread % 32, r = lane / 4;
  float* tops = reinterpret_cast<float*>(region + L::kTops);
  float* totals = reinterpret_cast<float*>(region + L::kTotals);
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    float top = -INFINITY;
#pragma unroll
    for (int i = 0; i < kKeyTiles; ++i) {
      if (warp + i * kWarps < tiles) top = fmaxf(top, fmaxf(s[i][2 * h], s[i][2 * h + 1]));
    }
    top = quad_max(top);
    if (lane % 4 == 0) tops[warp * kTileRows + r + 8 * h] = top;
  }
  __syncthreads();
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    float top = run.top[h];
#pragma unroll
    for (int i = 0; i < kWarps; ++i) top = fmaxf(top, tops[i * kTileRows + r + 8 * h]);
    const float base = top == -INFINITY ? 0.0f : top, keep = exp2f(run.top[h] - base);
    run.top[h] = top, run.total[h] *= keep;
#pragma unroll
    for (int i = 0; i < D / 64; ++i) o[i][2 * h] *= keep, o[i][2 * h + 1] *= keep;
    float total = 0;
    uint32_t* to = reinterpret_cast<uint32_t*>(reinterpret_cast<T*>(region + L::kWeights) +
                                               (r + 8 * h) * L::kWeightPitch);
#pragma unroll
    for (int i = 0; i < kKeyTiles; ++i) {
      const int tile = warp + i * kWarps;
      if (tile >= tiles) break;
      const float x = exp2f(s[i][2 * h] - base), y = exp2f(s[i][2 * h + 1] - base);
      total += x + y;
      to[tile * 4 + lane % 4] = device::pack<T>(x, y);
    }
    total = quad_sum(total);
    if (lane % 4 == 0) totals[warp * kTileRows + r + 8 * h] = total;
  }
  __syncthreads();
#pragma unroll
  for (int h = 0; h < 2; ++h) {
#pragma unroll
    for (int i = 0; i < kWarps; ++i) run.total[h] += totals[i * kTileRows + r + 8 * h];
  }
}

// One CTA's part of a unit, left in shared memory.
template <class T, int D>
__device__ __forceinline__ void partial_attention(const AttentionPhase& p, const AttentionUnit& u,
                                                  int thread, const Gate& gate, std::byte* region) {
  using L = AttentionLayout<D>;
  const AttentionArgs& a = p.args;
  const int lane = thread % 32, warp = thread / 32;
  const Lines<T> keys = key_lines<T>(a, u), values = value_lines<T>(a, u);
  const float* row_factors = reinterpret_cast<const float*>(region + L::kRowFactors);
  float2* terms = reinterpret_cast<float2*>(region + L::kKeys);
  int limit[2] = {1 << 30, 1 << 30};  // rows lane / 4 and lane / 4 + 8 see keys below it
  if (a.visible) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      limit[h] = u.limited + a.visible[(u.first_row + min(lane / 4 + 8 * h, u.rows - 1)) % a.rows];
    }
  }
  Running run;
  float o[D / 64][4] = {};
#pragma unroll 1
  for (int chunk = u.begin; chunk < u.end; chunk += kChunk) {
    const int count = min(kChunk, u.end - chunk), tiles = (count + 15) / 16 * 2;
    float s[kKeyTiles][4] = {};
    uint4 k[kKeyTiles][D / kBlock] = {};
    const bool opening = chunk == u.begin;
    Pass pass{opening && p.cached ? u.first : 0, !opening};
#pragma unroll 1
    while (true) {
      fetch_keys<T, D>(keys, u, a.width, chunk, tiles, thread, pass, k);
      if (pass.rest) break;
      pass.rest = true;
      gate.wait();
      fetch_queries<T, D>(a, u, p.inverse_rows, thread, region);
      fetch_row_factors(p, u, thread, reinterpret_cast<float*>(region + L::kRowFactors));
    }
    fetch_key_terms(p, u, chunk, thread, terms);
    device::copy_async_wait<0>();
    __syncthreads();
    if (opening) gate.mark(2);
    scores<T, D>(region, tiles, thread, k, s);
    asm volatile("" ::: "memory");  // keys leave the registers before values come
    Values<D> v, then;
    fetch_values<T, D>(values, u, a.width, chunk, thread, v);
    fetch_values<T, D>(values, u, a.width, chunk + 64, thread, then);
    const float factor[2] = {row_factors[lane / 4], row_factors[lane / 4 + 8]};
#pragma unroll
    for (int i = 0; i < kKeyTiles; ++i) {
      if (warp + i * kWarps >= tiles) break;
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int n = (warp + i * kWarps) * 8 + lane % 4 * 2 + e % 2;
        const float2 term = terms[n];
        s[i][e] = fmaf(s[i][e] * factor[e / 2], term.x, term.y);
        if (chunk + n >= limit[e / 2]) s[i][e] = -INFINITY;
      }
    }
    weigh<T, D>(tiles, thread, region, s, run, o);
    add_values<T, D>(region, 0, count, lane, v, o);
    if (count > 128) fetch_values<T, D>(values, u, a.width, chunk + 128, thread, v);
    add_values<T, D>(region, 64, count - 64, lane, then, o);
    add_values<T, D>(region, 128, count - 128, lane, v, o);
  }
  device::copy_async_wait<0>();
  float* out = reinterpret_cast<float*>(region + L::kOut);
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int r = lane / 4 + 8 * h;
    float* to = out + r * L::kOutPitch + warp * (D / 8) + lane % 4 * (D / 32);
#pragma unroll
    for (int i = 0; i < D / 64; ++i) to[i] = o[i][2 * h], to[D / 64 + i] = o[i][2 * h + 1];
    if (warp == 0 && lane % 4 == 0) {
      float* state = reinterpret_cast<float*>(region + L::kState);
      state[r] = run.top[h], state[kTileRows + r] = run.total[h];
    }
  }
}

// The part of a CTA that has no keys.
template <int D>
__device__ __forceinline__ void no_attention(int thread, std::byte* region) {
  using L = AttentionLayout<D>;
  if (thread < kTileRows) {
    float* state = reinterpret_cast<float*>(region + L::kState);
    state[thread] = -INFINITY, state[kTileRows + thread] = 0;
  }
  float* out = reinterpret_cast<float*>(region + L::kOut);
  for (int i = thread; i < kTileRows * L::kOutPitch; i += kThreads) out[i] = 0;
}

// Joins the parts of a unit that CTAs first_rank .. + span - 1 hold; part `part` writes its share
// of the columns.
template <int D>
__device__ __forceinline__ void join(const AttentionPhase& p, const AttentionUnit& u,
                                     int first_rank, int part, int thread, std::byte* region) {
  using L = AttentionLayout<D>;
  const AttentionArgs& a = p.args;
  const int log = p.span == 4 ? 2 : p.span - 1, vectors = (D / 4) >> log;
  for (int i = thread; i < u.rows * vectors; i += kThreads) {
    const int r = i >> (D == 256 ? 6 : 5) - log, c = (part * vectors + (i & vectors - 1)) * 4;
    if (c >= a.width) continue;
    float top[kCluster], total[kCluster];
    float4 value[kCluster];
#pragma unroll
    for (int s = 0; s < kCluster; ++s) {
      top[s] = -INFINITY, total[s] = 0, value[s] = make_float4(0, 0, 0, 0);
      if (s >= p.span) continue;
      const uint32_t theirs = peer_address(region, first_rank + s);
      float state;
      asm volatile("ld.shared::cluster.f32 %0, [%1];"
                   : "=f"(state)
                   : "r"(theirs + L::kState + r * 4));
      top[s] = state;
      asm volatile("ld.shared::cluster.f32 %0, [%1];"
                   : "=f"(state)
                   : "r"(theirs + L::kState + (kTileRows + r) * 4));
      total[s] = state;
      value[s] = load_peer4(theirs + L::kOut + (r * L::kOutPitch + c) * 4);
    }
    const float most = fmaxf(fmaxf(top[0], top[1]), fmaxf(top[2], top[3]));
    const float base = most == -INFINITY ? 0.0f : most;
    float4 sum = make_float4(0, 0, 0, 0);
    float all = 0;
#pragma unroll
    for (int s = 0; s < kCluster; ++s) {
      const float weight = exp2f(top[s] - base);
      sum.x += weight * value[s].x, sum.y += weight * value[s].y;
      sum.z += weight * value[s].z, sum.w += weight * value[s].w;
      all += weight * total[s];
    }
    const float inverse = all > 0 ? 1.0f / all : 0.0f;
    const int row = u.first_row + r, head = divide(row, p.inverse_rows), h = u.first_head + head;
    const int64_t to = u.b * a.out_batch + (row - head * a.rows) * a.out_row + h * a.out_head + c;
    if (a.out_dtype == DType::bf16) {
      *reinterpret_cast<uint2*>(static_cast<__nv_bfloat16*>(a.out) + to) =
          make_uint2(device::pack_bf16(sum.x * inverse, sum.y * inverse),
                     device::pack_bf16(sum.z * inverse, sum.w * inverse));
      continue;
    }
    device::store(a.out, to, a.out_dtype, sum.x * inverse);
    device::store(a.out, to + 1, a.out_dtype, sum.y * inverse);
    device::store(a.out, to + 2, a.out_dtype, sum.z * inverse);
    device::store(a.out, to + 3, a.out_dtype, sum.w * inverse);
  }
}

template <class T, int D>
__device__ __forceinline__ void run_attention(const AttentionPhase& p, const Where& w, Gate gate,
                                              std::byte* region, bool closes) {
  const int each = kCluster / p.span, slot = w.rank / p.span, part = w.rank % p.span;
  const int stride = w.clusters * each;
  int unit = w.cluster * each + slot;
#pragma unroll 1
  for (int first = 0; first < p.units; first += stride, unit += stride) {
    const bool active = unit < p.units;
    const AttentionUnit u = attention_unit(p.args, min(unit, p.units - 1), part, p.span);
    if (first > 0) {
      gate.waits = false;
      cluster_sync();  // shared memory is free again
    }
    if (active && u.begin < u.end) {
      partial_attention<T, D>(p, u, w.thread, gate, region);
    } else {
      gate.wait();
      if (active) no_attention<D>(w.thread, region);
    }
    gate.mark(3);
    cluster_sync();
    gate.mark(4);
    if (active) join<D>(p, u, w.rank - part, part, w.thread, region);
  }
  if (closes) cluster_sync();
}

}  // namespace tendon::cuda::persistent
