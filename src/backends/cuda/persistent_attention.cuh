// The attention phase: 16 or 32 packed rows of one sample and key head are a unit; `span` CTAs of a
// cluster have a range of its keys each. Partial results are pushed to the CTA that joins their
// columns, in a fixed order. A phase runs once in a while: what counts is that its code is short.
#pragma once

#include "backends/cuda/persistent_attention_unit.cuh"

namespace tendon::cuda::persistent {

constexpr float kLeast = -1e30f;  // below any score that counts

__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ float rsqrt_fast(float x) {
  float y;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ float quad_max(float v) {
  v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 1));
  return fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 2));
}
__device__ __forceinline__ float quad_sum(float v) {
  v += __shfl_xor_sync(0xffffffffu, v, 1);
  return v + __shfl_xor_sync(0xffffffffu, v, 2);
}
// As device::ldmatrix() and copy_async(), with addresses in shared memory.
__device__ __forceinline__ void load_tiles(uint32_t (&r)[4], uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row)
               : "memory");
}
__device__ __forceinline__ void load_tiles_transposed(uint32_t (&r)[4], uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row)
               : "memory");
}
__device__ __forceinline__ void copy16(uint32_t to, const void* from, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes)
               : "memory");
}

// One CTA's part of a unit. Queries, keys and values lie in rows of D elements whose 16-byte pieces
// are turned: no two of 8 neighbouring rows meet in a bank. Scores: warp w has tile w % 2 of the
// rows and group w / 2 of the chunk's keys; a lane has the rows lane / 4 + 8 h of its tile.
// Results: a warp has D / 8 columns of all rows.
template <class T, int D, int R>
struct UnitPart {
  using L = AttentionLayout<D, R>;
  static constexpr int kGroupKeys = L::kGroupKeys, kKeyTiles = kGroupKeys / 8;
  static constexpr int kPieces = D / 8, kRowsAtOnce = kThreads / kPieces;
  static constexpr int kSteps = D / 16, kOutTiles = D / 64;
  using Scores = float[kKeyTiles][4];
  using Out = float[L::kTiles][kOutTiles][4];

  const AttentionPhase& p;
  const AttentionUnit& u;
  std::byte* region;
  unsigned thread;
  int part, log;  // log2 of the span
  // Which 16 bytes of rows the thread copies: the first row, where it lies, 0 bytes past the width.
  int row, spot, bytes;

  __device__ int lane() const { return thread & 31; }
  __device__ int warp() const { return thread >> 5; }
  __device__ int tile() const { return warp() & L::kTiles - 1; }
  __device__ int group() const { return warp() / L::kTiles; }
  __device__ bool scores() const {
    return L::kGroups * kGroupKeys == L::kChunk || group() * kGroupKeys < L::kChunk;
  }
  // Of a tile of results: the row, the pair of columns.
  __device__ int quad() const { return lane() >> 2; }
  __device__ int pair() const { return thread & 3; }
  template <class V>
  __device__ V* at(int offset) const {
    return reinterpret_cast<V*>(region + offset);
  }
  __device__ uint32_t address(int offset) const { return device::shared_address(region) + offset; }

  // Rows of a chunk: to a multiple of 16.
  __device__ int padded(int chunk) const { return min(L::kChunk, (u.end - chunk + 15) & ~15); }
  // Those that no phase writes.
  __device__ int early() const {
    return p.cached ? min(max(u.first - u.begin, 0), padded(u.begin)) & ~15 : 0;
  }

  __device__ __forceinline__ KeyLine line_of(int part, bool values) const {
    const KeyPiece& piece = p.args.piece[part];
    const void* const* data = values ? &piece.v : &piece.k;
    const int64_t* strides = values ? &piece.v_batch : &piece.k_batch;  // then row and head
    const int pitch = static_cast<int>(strides[1]) * 2;
    const std::byte* base = static_cast<const std::byte*>(*data) +
                            (times(u.b, strides[0]) + times(u.key_head, strides[2])) * 2;
    if (part) base -= times(u.first, pitch);
    return {base, pitch};
  }
  // The lines of keys and values; the query and the head of each row.
  __device__ __forceinline__ void find_lines() const {
    if (thread >= R) return;
    const int row = u.first_row + static_cast<int>(thread), head = divide(row, p.inverse_rows);
    at<int2>(L::kTokens)[thread] = make_int2(row - head * p.args.rows, u.first_head + head);
    if (thread >= 4) return;
    at<KeyLine>(L::kLines)[thread] = line_of(thread & 1, thread >> 1);
  }
  // Rows [from, to) of a chunk, of keys or of values; those past the end repeat the last one.
  __device__ __forceinline__ void request(bool values, int chunk, int from, int to) const {
    const KeyLine* lines = at<const KeyLine>(L::kLines) + values * 2;
    const KeyLine one = lines[0], two = lines[1];
    const int c = static_cast<int>(thread % kPieces) * 16;
    int to_row = address(values ? L::kValues : L::kKeys) + spot + from * L::kRowSize;
#pragma unroll 1
    for (int r = from + row; r < to; r += kRowsAtOnce, to_row += kRowsAtOnce * L::kRowSize) {
      const int n = min(chunk + r, u.end - 1);
      const bool own = n >= u.first;
      const std::byte* line = (own ? two.base : one.base) + c;
      copy16(to_row, line + times(n, own ? two.pitch : one.pitch), bytes);
    }
    device::copy_async_commit();
  }
  // The same of rows [0, to) of the first chunk that lie in the first piece.
  __device__ __forceinline__ void request_early(bool values, int to) const {
    const KeyLine line = line_of(0, values);
    const std::byte* from =
        line.base + times(u.begin + row, line.pitch) + static_cast<int>(thread % kPieces) * 16;
    const int64_t pass = times(kRowsAtOnce, line.pitch);
    int to_row = address(values ? L::kValues : L::kKeys) + spot;
#pragma unroll 1
    for (int r = row; r < to; r += kRowsAtOnce) {
      copy16(to_row, from, bytes);
      to_row += kRowsAtOnce * L::kRowSize, from += pass;
    }
    device::copy_async_commit();
  }
  __device__ __forceinline__ void request_queries() const {
    const AttentionArgs& a = p.args;
    const int c = static_cast<int>(thread % kPieces) * 8;
    const int pitch = static_cast<int>(a.q_row), head_pitch = static_cast<int>(a.q_head);
    const T* base = static_cast<const T*>(a.q) + times(u.b, a.q_batch) + c;
#pragma unroll 1
    for (int r = row; r < u.rows; r += kRowsAtOnce) {
      const int2 token = at<const int2>(L::kTokens)[r];
      copy16(address(L::kQueries) + spot + (r - row) * L::kRowSize,
             base + (token.x * pitch + token.y * head_pitch), bytes);
    }
  }

  __device__ const RowFactor& factor_of(bool keys) const { return (&p.q)[keys]; }
  // What a norm left to do. Item i is a row of the unit, then one of the chunk's own keys. Four
  // neighbours have an item, so that a pass has 64; a warp has rows or keys.
  __device__ __forceinline__ void sum_parts(int chunk) const {
    constexpr int kLanes = 4, kAtOnce = 2 * kMostGroups / kLanes;
    const int first_own = max(u.first - chunk, 0), keys = p.own_keys.sums ? padded(chunk) : 0;
    const int end = R + max(keys - first_own + 7 & ~7, 0);
#pragma unroll 1
    for (int i = static_cast<int>(thread) / kLanes + (chunk > u.begin ? R : 0); i < end;
         i += kThreads / kLanes) {
      const bool query = i < R;
      const RowFactor& f = factor_of(!query);
      if (!f.sums) continue;
      const int n = i - R + first_own, key = min(chunk + n, u.end - 1) - u.first;
      const int parts = f.parts, step = f.stride * kLanes;
      const int row = u.b * (query ? p.args.rows : p.args.piece[1].count) +
                      (query ? at<const int2>(L::kTokens)[min(i, u.rows - 1)].x : max(key, 0));
      const float* from = f.sums + row + pair() * f.stride;
      float v[kAtOnce], sum = 0;
#pragma unroll
      for (int j = 0; j < kAtOnce; ++j) {
        v[j] = pair() + j * kLanes < parts ? __ldcg(from) : 0.0f;
        from += step;
      }
#pragma unroll
      for (int j = 0; j < kAtOnce; ++j) sum += v[j];
      sum = quad_sum(sum);
      if (pair() == 0 && (query || n < keys)) at<float>(L::kRowSums)[query ? i : R + n] = sum;
    }
  }
  // Factors and limits of rows; what a key's score is multiplied with, to units of log2, and what
  // is added to it.
  __device__ __forceinline__ void find_terms(int chunk) const {
    constexpr float kLog2e = 1.4426950408889634f;
    const AttentionArgs& a = p.args;
    const int i = static_cast<int>(thread) + (chunk > u.begin ? R : 0);
    if (i >= L::kItems) return;
    const int n = i - R, key = chunk + n;
    const bool own = key >= u.first;
    const RowFactor& f = factor_of(n >= 0);
    float factor = 1.0f;
    if (f.sums && (n < 0 || own)) {
      factor = rsqrt_fast(at<const float>(L::kRowSums)[i] * f.inverse_width + f.eps);
    }
    if (n < 0) {
      int limit = i < u.rows ? u.end : 0;
      if (a.visible && i < u.rows) {
        limit = min(limit, u.limited + a.visible[at<const int2>(L::kTokens)[i].x]);
      }
      at<float2>(L::kFactors)[i] = make_float2(factor, __int_as_float(limit));
      return;
    }
    const KeyPiece& piece = a.piece[own];
    float bias = 0;
    if (piece.bias && key < u.end) {
      bias = piece.bias[u.b * piece.count + key - (own ? u.first : 0)] * kLog2e;
    }
    at<float2>(L::kTerms)[n] = make_float2(a.scale * kLog2e * factor, bias);
  }

  // Where a lane finds its row of a tile of 16 queries or 16 keys; the pieces of the first step.
  __device__ uint32_t tile_row(int offset, int row, int piece) const {
    return address(offset) + row * L::kRowSize + (piece ^ row & 7) * 16;
  }
  __device__ __forceinline__ void score(Scores& s) const {
    const int key = group() * kGroupKeys + (lane() >> 4) * 8 + (lane() & 7);
    const uint32_t from = tile_row(L::kKeys, key, (lane() >> 3 & 1));
    const uint32_t query = tile_row(L::kQueries, tile() * 16 + (lane() & 15), lane() >> 4);
#pragma unroll 1
    for (int b = 0; b < D * 2; b += 128) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        uint32_t q[4];
        load_tiles(q, (query ^ i * 32) + b);
#pragma unroll
        for (int j = 0; j < kKeyTiles; j += 2) {
          uint32_t k[4];
          load_tiles(k, (from ^ i * 32) + b + j * 8 * L::kRowSize);
          device::mma<T>(s[j], q, k[0], k[1]);
          device::mma<T>(s[j + 1], q, k[2], k[3]);
        }
      }
    }
  }
  // Scores in units of log2; the warp's largest of each row to shared memory.
  __device__ __forceinline__ void finish_scores(int chunk, const float (&before)[2],
                                                Scores& s) const {
    const int row = tile() * 16 + quad(), n = group() * kGroupKeys + pair() * 2;
    float top[2], factor[2];
    int limit[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      top[h] = before[h];
      const float2 v = at<const float2>(L::kFactors)[row + 8 * h];
      factor[h] = v.x;
      limit[h] = __float_as_int(v.y) - chunk - n;
    }
#pragma unroll
    for (int j = 0; j < kKeyTiles; ++j) {
      if (!scores()) break;
      const float4 term = *at<const float4>(L::kTerms + (n + j * 8) * 8);
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        float& v = s[j][e];
        v = fmaf(v * factor[e / 2], e % 2 ? term.z : term.x, e % 2 ? term.w : term.y);
        if (j * 8 + e % 2 >= limit[e / 2]) v = -INFINITY;
        top[e / 2] = fmaxf(top[e / 2], v);
      }
    }
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      top[h] = quad_max(top[h]);
      if (pair() == 0) at<float>(L::kTops)[(row + 8 * h) * L::kGroups + group()] = top[h];
    }
  }
  // Weights of a chunk, to shared memory, and what becomes of the results so far. Totals are those
  // of the lane's keys.
  __device__ __forceinline__ void weigh(const Scores& s, float (&top)[2], float (&total)[2]) const {
    const int row = tile() * 16 + quad();
    float keep[2], all[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const float4* tops = at<const float4>(L::kTops) + (row + 8 * h) * (L::kGroups / 4);
      float most = top[h];
#pragma unroll
      for (int i = 0; i < L::kGroups / 4; ++i) {
        most = fmaxf(most, fmaxf(fmaxf(tops[i].x, tops[i].y), fmaxf(tops[i].z, tops[i].w)));
      }
      keep[h] = exp2_fast(top[h] - most);
      top[h] = most, total[h] *= keep[h];
      uint32_t* to = at<uint32_t>(L::kWeights + (row + 8 * h) * L::kWeightPitch +
                                  group() * kGroupKeys * 2 + pair() * 4);
#pragma unroll
      for (int j = 0; j < kKeyTiles; ++j) {
        if (!scores()) break;
        const float x = exp2_fast(s[j][2 * h] - most), y = exp2_fast(s[j][2 * h + 1] - most);
        total[h] += x + y;
        to[j * 4] = device::pack<T>(x, y);
      }
      all[h] = quad_sum(total[h]);
    }
    if (pair()) return;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      at<float>(L::kTotals)[(row + 8 * h) * L::kGroups + group()] = all[h];
      if (group() == 0) at<float2>(L::kKeep)[row + 8 * h] = make_float2(keep[h], top[h]);
    }
  }

  // o = o * keep + weights values.
  __device__ __forceinline__ void add_values(int keys, Out& o) const {
    const bool tall = L::kTiles > 1 && u.rows > 16;
#pragma unroll
    for (int r = 0; r < R / 8; ++r) {
      const float keep = at<const float2>(L::kKeep)[r * 8 + quad()].x;
#pragma unroll
      for (int i = 0; i < kOutTiles; ++i) {
        o[r / 2][i][r % 2 * 2] *= keep, o[r / 2][i][r % 2 * 2 + 1] *= keep;
      }
    }
    uint32_t weights = address(L::kWeights) + (lane() & 15) * L::kWeightPitch + (lane() >> 4) * 16;
    const int piece = warp() * (kPieces / 8) + (lane() >> 4);
    uint32_t values = tile_row(L::kValues, (lane() & 15), piece);
#pragma unroll 1
    for (int k = 0; k < keys; k += 16) {
      uint32_t rows[L::kTiles][4];
#pragma unroll
      for (int t = 0; t < L::kTiles; ++t) load_tiles(rows[t], weights + t * 16 * L::kWeightPitch);
#pragma unroll
      for (int i = 0; i < kOutTiles; i += 2) {
        uint32_t v[4];
        load_tiles_transposed(v, values ^ i * 16);
#pragma unroll
        for (int t = 0; t < L::kTiles; ++t) {
          if (t > 0 && !tall) break;
          device::mma<T>(o[t][i], rows[t], v[0], v[1]);
          device::mma<T>(o[t][i + 1], rows[t], v[2], v[3]);
        }
      }
      weights += 32, values += 16 * L::kRowSize;
    }
  }

  // CTA `part` of the span owns a share of the columns. Results lie by owner, then row, as they are
  // handed over: 16 bytes with four columns each, turned so that no two of 8 rows meet in a bank.
  __device__ int column_share() const { return D >> log; }
  __device__ int block_bytes() const { return R * column_share() * 4; }
  __device__ int four_at(int row, int four) const {
    const int fours = column_share() / 4;
    return row * column_share() * 4 + (four & fours - 1 ^ row & fours - 1 & 7) * 16;
  }
  __device__ __forceinline__ void store_results(const Out& o) const {
#pragma unroll
    for (int r = 0; r < R / 8; ++r) {
#pragma unroll
      for (int i = 0; i < kOutTiles; ++i) {
        const int four = warp() * (D / 32) + i * 2 + (pair() >> 1), row = r * 8 + quad();
        const int owner = four * 4 >> (D == 256 ? 8 : 7) - log;
        *at<float2>(L::kResults + owner * block_bytes() + four_at(row, four) + (lane() & 1) * 8) =
            make_float2(o[r / 2][i][r % 2 * 2], o[r / 2][i][r % 2 * 2 + 1]);
      }
    }
  }
  // Where what CTA `from` has for CTA `to` is handed over.
  __device__ int inbox_at(int from, int to) const {
    return L::kInbox + (from - (from > to)) * block_bytes();
  }
  __device__ uint32_t expected() const { return u.rows * (p.span - 1) * (column_share() * 4 + 8); }
  // `done`: the barrier of the inbox; `first_rank`: of the span.
  __device__ __forceinline__ void push_state(uint32_t done, int first_rank) const {
    const int row = lane(), to = warp();
    if (to >> log || row >= u.rows) return;
    float2 state = make_float2(kLeast, 0);
    if (u.begin < u.end) {
      const float4* totals = at<const float4>(L::kTotals) + row * (L::kGroups / 4);
      float all = 0;
#pragma unroll
      for (int i = 0; i < L::kGroups / 4; ++i) {
        all += totals[i].x + totals[i].y + totals[i].z + totals[i].w;
      }
      state = make_float2(at<const float2>(L::kKeep)[row].y, all);
    }
    const int offset = L::kStates + (part * R + row) * 8;
    if (to == part) {
      *at<float2>(offset) = state;
    } else {
      const int rank = first_rank + to;
      push2(peer_address(address(offset), rank), peer_address(done, rank), state.x, state.y);
    }
  }
  // Results to the owners of their columns, a warp each.
  __device__ __forceinline__ void push_results(uint32_t done, int first_rank) const {
    const int to = warp();
    if (to >> log || to == part || u.rows == 0 || lane() > 0) return;
    push_block(peer_address(address(inbox_at(part, to)), first_rank + to),
               peer_address(done, first_rank + to), address(L::kResults + to * block_bytes()),
               static_cast<uint32_t>(u.rows * column_share() * 4));
  }

  __device__ __forceinline__ float4 joined(int row, int column) const {
    const float2* states = at<const float2>(L::kStates) + row;
    float most = kLeast, all = 0;
    float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll
    for (int s = 0; s < kCluster; ++s) {
      if (s >> log == 0) most = fmaxf(most, states[s * R].x);
    }
    const int own = L::kResults + part * block_bytes(), four = four_at(row, column / 4);
#pragma unroll 1
    for (int s = 0; s >> log == 0; ++s) {
      const float4 v = *at<const float4>((s == part ? own : inbox_at(s, part)) + four);
      const float2 state = states[s * R];
      const float weight = exp2_fast(state.x - most);
      sum.x += weight * v.x, sum.y += weight * v.y;
      sum.z += weight * v.z, sum.w += weight * v.w;
      all += weight * state.y;
    }
    const float inverse = all > 0 ? reciprocal(all) : 0.0f;
    return make_float4(sum.x * inverse, sum.y * inverse, sum.z * inverse, sum.w * inverse);
  }
  // The CTA's share of the columns, to memory.
  __device__ __forceinline__ void join() const {
    const AttentionArgs& a = p.args;
    const int share_log = (D == 256 ? 6 : 5) - log;
    const int pitch = static_cast<int>(a.out_row), head_pitch = static_cast<int>(a.out_head);
#pragma unroll 1
    for (int i = static_cast<int>(thread); i < u.rows << share_log; i += kThreads) {
      const int r = i >> share_log, four = i - (r << share_log);
      const int column = ((part << share_log) + four) * 4;
      if (column >= a.width) continue;
      const float4 v = joined(r, column);
      const int2 token = at<const int2>(L::kTokens)[r];
      const int64_t to =
          times(u.b, a.out_batch) + (token.x * pitch + token.y * head_pitch + column);
      if (a.out_dtype == DType::f32) {
        float* out = static_cast<float*>(a.out) + to;
        out[0] = v.x, out[1] = v.y, out[2] = v.z, out[3] = v.w;
        continue;
      }
      uint2 words = make_uint2(device::pack_bf16(v.x, v.y), device::pack_bf16(v.z, v.w));
      if (a.out_dtype == DType::f16) {
        words = make_uint2(device::pack_f16(v.x, v.y), device::pack_f16(v.z, v.w));
      }
      *reinterpret_cast<uint2*>(static_cast<uint16_t*>(a.out) + to) = words;
    }
  }

  // From the unit's keys to the results of this CTA, which lie in shared memory then.
  __device__ __forceinline__ void compute(const Gate& gate, uint32_t done) const {
    const int cached = early();
#pragma unroll 1
    for (int i = 0; i < 2; ++i) request_early(i, cached);
    find_lines();
    team_sync();
    gate.wait();
    if (thread == 0 && log) device::barrier_expect(done, expected());
    request_queries();
#pragma unroll 1
    for (int i = 0; i < 2; ++i) request(i, u.begin, cached, padded(u.begin));
    gate.mark(2);
    Out o = {};
    float top[2] = {kLeast, kLeast}, total[2] = {};
#pragma unroll 1
    for (int chunk = u.begin; chunk < u.end; chunk += L::kChunk) {
      const bool begins = chunk == u.begin;
      const int next = chunk + L::kChunk, keys = padded(chunk);
      if (p.q.sums && begins || p.own_keys.sums) {
        sum_parts(chunk);
        team_sync();
      }
      find_terms(chunk);
      if (begins) {
        device::copy_async_wait<1>();
      } else {
        device::copy_async_wait<0>();
      }
      team_sync();  // keys and terms are there; values of before are done with
      if (!begins) request(true, chunk, 0, keys);
      Scores s = {};
      if (group() * kGroupKeys < keys && tile() * 16 < u.rows) score(s);
      __syncwarp();
      finish_scores(chunk, top, s);
      team_sync();  // tops are there; keys are done with
      request(false, next, 0, padded(next));
      weigh(s, top, total);
      device::copy_async_wait<1>();
      team_sync();  // weights and values are there
      add_values(keys, o);
    }
    gate.mark(5);
    device::copy_async_wait<0>();  // of queries, where there are no keys
    store_results(o);
  }
};

// The same place, known to the compiler as somewhere in shared memory, which is one register.
template <class V>
__device__ __forceinline__ V* in_shared(V* at) {
  uint32_t address = device::shared_address(at);
  asm volatile("" : "+r"(address));
  return static_cast<V*>(__cvta_shared_to_generic(address));
}

// How an attention phase hands over.
struct Exchange {
  Inbox inbox;
  Meeting meeting;
};

// The phase lies in shared memory; all else comes and goes by value: what had an address would be
// kept in local memory, which every look at the gate sends to the L2.
template <class T, int D, int R>
__device__ __noinline__ Exchange run_attention(const AttentionPhase& phase, Where w, Gate gate,
                                               Exchange exchange, std::byte* memory) {
  const AttentionPhase& p = *in_shared(const_cast<AttentionPhase*>(&phase));
  std::byte* region = in_shared(memory);
  const int log = __popc(p.span - 1), part = w.place() & p.span - 1;
  const int stride = w.ctas >> log;
  const int first_rank = w.place() - part;
  const uint32_t done = exchange.inbox.barrier;
  int unit = w.cta >> log;
#pragma unroll 1
  for (int first = 0; first < p.units; first += stride, unit += stride) {
    if (first > 0) {
      gate.waits = false;
      exchange.meeting.meet(w.thread);  // inboxes are free again
    }
    const AttentionUnit u = attention_unit(p, unit, part, log);
    const unsigned thread = w.thread;
    const int row = thread / (D / 8), piece = thread % (D / 8);
    const int spot = row * AttentionLayout<D, R>::kRowSize + (piece ^ row & 7) * 16;
    const int bytes = piece * 8 < p.args.width ? 16 : 0;
    const UnitPart<T, D, R> work{p, u, region, thread, part, log, row, spot, bytes};
    work.compute(gate, done);
    work.push_state(done, first_rank);
    fence_for_copies();
    team_sync();
    work.push_results(done, first_rank);
    if (log) exchange.inbox.wait();
    gate.mark(8);
    work.join();
  }
  return exchange;
}

}  // namespace tendon::cuda::persistent
