// Attention on tensor cores. A CTA owns 64 rows of one sample and key head: the query heads that
// share the keys are packed as rows. Two groups of four warps take key chunks in turn, each through
// its own two-stage buffer, and are joined at the end.
#include "backends/cuda/attention.h"
#include "backends/cuda/device/mma.cuh"
#include "backends/cuda/device/tensor_copy.cuh"
#include "backends/cuda/keys.cuh"
#include "backends/cuda/launch.h"

namespace tendon::cuda {
namespace {

constexpr int kRows = 64, kThreads = 256, kGroup = 128, kStages = 2;
constexpr float kLog2e = 1.4426950408889634f;

template <int D>
struct Layout {
  static constexpr int kKeys = D > 128 ? 32 : 64;  // of a chunk
  static constexpr int kPitch = D + 8;             // elements: rows fall on different banks
  static constexpr int kChunk = kKeys * kPitch;
  static constexpr int kGroupElements = kStages * 2 * kChunk;
  static constexpr std::size_t kBytes = (kRows * kPitch + 2 * kGroupElements) * 2;
  static_assert(kGroupElements * 2 >= kRows * (D + 2) * 4,
                "the second group's sums fit its buffers");
};

struct Tile {
  int b, key_head, first_row, group_rows;  // packed rows: query head in the group, then query
  int first, last;                         // keys of either piece
};

__device__ inline void group_sync(int group) {
  asm volatile("bar.sync %0, %1;" ::"r"(group + 1), "n"(kGroup) : "memory");
}

template <class T, int D>
__device__ void load_queries(const AttentionArgs& a, const Tile& t, T* to) {
  const int chunks = D / 8, width = a.width / 8;
  for (int i = threadIdx.x; i < kRows * chunks; i += kThreads) {
    const int r = i / chunks, c = i % chunks, row = t.first_row + r;
    int64_t at = -1;
    if (row < t.group_rows && c < width) {
      const int h = t.key_head * (a.heads / a.key_heads) + row / a.rows, s = row % a.rows;
      at = t.b * a.q_batch + s * a.q_row + h * a.q_head + c * 8;
    }
    if (a.q_dtype == a.piece[0].k_dtype || at < 0) {
      device::copy_async(to + r * Layout<D>::kPitch + c * 8,
                         at < 0 ? nullptr : static_cast<const T*>(a.q) + at);
    } else {
      float v[8];
      device::load_vector<8>(a.q, at, a.q_dtype, v);
      device::store_vector<8>(to + r * Layout<D>::kPitch + c * 8, 0, a.piece[0].k_dtype, v);
    }
  }
}

// Where a thread's keys and values come from.
template <class T>
struct Source {
  const T* k[2];
  const T* v[2];
  int k_row[2], v_row[2];
};

template <class T>
__device__ Source<T> source(const AttentionArgs& a, const Tile& t) {
  Source<T> s;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const KeyPiece& p = a.piece[i];
    s.k[i] = static_cast<const T*>(p.k) + t.b * p.k_batch + t.key_head * p.k_head;
    s.v[i] = static_cast<const T*>(p.v) + t.b * p.v_batch + t.key_head * p.v_head;
    s.k_row[i] = static_cast<int>(p.k_row), s.v_row[i] = static_cast<int>(p.v_row);
  }
  return s;
}

// Keys [j, j + kKeys) of the concatenation, k then v; zeros past the end.
template <class T, int D>
__device__ void load_chunk(const AttentionArgs& a, const Tile& t, const Source<T>& from, int j,
                           T* to) {
  using L = Layout<D>;
  constexpr int kChunks = D / 8;
  const int width = a.width / 8, end = t.first + t.last;
#pragma unroll 4
  for (int i = threadIdx.x % kGroup; i < L::kKeys * kChunks; i += kGroup) {
    const int r = i / kChunks, c = i % kChunks, key = j + r;
    const bool real = key < end && c < width, second = key >= t.first;
    const int row = second ? key - t.first : key;
    const T* k =
        (second ? from.k[1] : from.k[0]) + int64_t{row} * (second ? from.k_row[1] : from.k_row[0]);
    const T* v =
        (second ? from.v[1] : from.v[0]) + int64_t{row} * (second ? from.v_row[1] : from.v_row[0]);
    T* at = to + r * L::kPitch + c * 8;
    device::copy_async(at, real ? k + c * 8 : nullptr);
    device::copy_async(at + L::kChunk, real ? v + c * 8 : nullptr);
  }
}

// s = q k^T of the warp's 16 rows and a chunk of keys.
template <class T, int D>
__device__ void scores(const T* q, const T* k, float (&s)[Layout<D>::kKeys / 8][4]) {
  using L = Layout<D>;
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (auto& tile : s) tile[0] = tile[1] = tile[2] = tile[3] = 0;
#pragma unroll
  for (int d = 0; d < D; d += 16) {
    uint32_t rows[4];
    device::ldmatrix(rows, q + (lane % 16) * L::kPitch + d + lane / 16 * 8);
#pragma unroll
    for (int n = 0; n < L::kKeys; n += 16) {
      uint32_t keys[4];
      device::ldmatrix(keys, k + (n + lane % 8 + lane / 16 * 8) * L::kPitch + d + lane / 8 % 2 * 8);
      device::mma<T>(s[n / 8], rows, keys[0], keys[1]);
      device::mma<T>(s[n / 8 + 1], rows, keys[2], keys[3]);
    }
  }
}

// Scaled and biased scores in units of log2; -inf where a key is not seen.
template <int D>
__device__ void mask(const AttentionArgs& a, const Tile& t, int warp_row, int j,
                     float (&s)[Layout<D>::kKeys / 8][4]) {
  const int lane = threadIdx.x % 32, end = t.first + t.last;
  const float scale = a.scale * kLog2e;
  const bool biased = a.piece[0].bias || a.piece[1].bias || a.score_bias;
#pragma unroll
  for (auto& tile : s) tile[0] *= scale, tile[1] *= scale, tile[2] *= scale, tile[3] *= scale;
  if (!biased && !a.visible && j + Layout<D>::kKeys <= end) return;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = min(t.first_row + warp_row + lane / 4 + half * 8, t.group_rows - 1);
    const int query = row % a.rows, h = t.key_head * (a.heads / a.key_heads) + row / a.rows;
    const int seen = seen_keys(a, query, t.first, t.last);
#pragma unroll
    for (int n = 0; n < Layout<D>::kKeys / 8; ++n) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        float& x = s[n][half * 2 + c];
        const int key = j + n * 8 + lane % 4 * 2 + c;
        if (key >= seen) x = -INFINITY;
        if (key >= seen || !biased) continue;
        const bool second = key >= t.first;
        const KeyPiece& p = a.piece[second];
        const int at = second ? key - t.first : key;
        if (p.bias) x += p.bias[int64_t{t.b} * p.count + at] * kLog2e;
        if (!second && a.score_bias) {
          x += a.score_bias[(int64_t{h} * a.rows + query) * p.count + at] * kLog2e;
        }
      }
    }
  }
}

struct Running {
  float top[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};
};

// Turns scores into weights, rescales what was summed before.
template <int D>
__device__ void soften(float (&s)[Layout<D>::kKeys / 8][4], float (&o)[D / 8][4], Running& run) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float top = run.top[half];
#pragma unroll
    for (auto& tile : s) top = fmaxf(top, fmaxf(tile[half * 2], tile[half * 2 + 1]));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
    const float base = top == -INFINITY ? 0.0f : top;
    const float keep = exp2f(run.top[half] - base);
    float total = 0;
#pragma unroll
    for (auto& tile : s) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        tile[half * 2 + c] = exp2f(tile[half * 2 + c] - base);
        total += tile[half * 2 + c];
      }
    }
    run.total[half] = run.total[half] * keep + total;
    run.top[half] = top;
#pragma unroll
    for (auto& tile : o) tile[half * 2] *= keep, tile[half * 2 + 1] *= keep;
  }
}

// o += weights v.
template <class T, int D>
__device__ void gather_values(const float (&s)[Layout<D>::kKeys / 8][4], const T* v,
                              float (&o)[D / 8][4]) {
  using L = Layout<D>;
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int n = 0; n < L::kKeys; n += 16) {
    const float(&x)[4] = s[n / 8];
    const float(&y)[4] = s[n / 8 + 1];
    const uint32_t weights[4] = {device::pack<T>(x[0], x[1]), device::pack<T>(x[2], x[3]),
                                 device::pack<T>(y[0], y[1]), device::pack<T>(y[2], y[3])};
#pragma unroll
    for (int d = 0; d < D; d += 16) {
      uint32_t values[4];
      device::ldmatrix_transposed(values, v + (n + lane % 16) * L::kPitch + d + lane / 16 * 8);
      device::mma<T>(o[d / 8], weights, values[0], values[1]);
      device::mma<T>(o[d / 8 + 1], weights, values[2], values[3]);
    }
  }
}

// The second group's sums through shared memory into the first's, then out.
template <int D>
__device__ void join_and_store(const AttentionArgs& a, const Tile& t, float* other, int warp_row,
                               float (&o)[D / 8][4], Running& run) {
  constexpr int kPitch = D + 2;
  const int lane = threadIdx.x % 32, group = threadIdx.x / kGroup;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    run.total[half] += __shfl_xor_sync(0xffffffffu, run.total[half], 1);
    run.total[half] += __shfl_xor_sync(0xffffffffu, run.total[half], 2);
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (group == 0) break;
    float* row = other + (warp_row + lane / 4 + half * 8) * kPitch;
#pragma unroll
    for (int d = 0; d < D / 8; ++d) {
      *reinterpret_cast<float2*>(row + d * 8 + lane % 4 * 2) =
          make_float2(o[d][half * 2], o[d][half * 2 + 1]);
    }
    if (lane % 4 == 0) row[D] = run.top[half], row[D + 1] = run.total[half];
  }
  __syncthreads();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (group == 1) break;
    const float* row = other + (warp_row + lane / 4 + half * 8) * kPitch;
    const float top = fmaxf(run.top[half], row[D]), base = top == -INFINITY ? 0.0f : top;
    const float mine = exp2f(run.top[half] - base), theirs = exp2f(row[D] - base);
    const float total = run.total[half] * mine + row[D + 1] * theirs;
    const float inverse = total > 0 ? 1.0f / total : 0.0f;
    const int packed = t.first_row + warp_row + lane / 4 + half * 8;
    if (packed >= t.group_rows) continue;
    const int h = t.key_head * (a.heads / a.key_heads) + packed / a.rows, s = packed % a.rows;
    const int64_t to = t.b * a.out_batch + s * a.out_row + h * a.out_head;
#pragma unroll
    for (int d = 0; d < D / 8; ++d) {
      const int column = d * 8 + lane % 4 * 2;
      if (column >= a.width) continue;
      const float x = (o[d][half * 2] * mine + row[column] * theirs) * inverse;
      const float y = (o[d][half * 2 + 1] * mine + row[column + 1] * theirs) * inverse;
      if (a.out_dtype == DType::bf16) {
        *reinterpret_cast<uint32_t*>(static_cast<__nv_bfloat16*>(a.out) + to + column) =
            device::pack_bf16(x, y);
      } else {
        device::store(a.out, to + column, a.out_dtype, x);
        device::store(a.out, to + column + 1, a.out_dtype, y);
      }
    }
  }
}

template <class T, int D>
__global__ void __launch_bounds__(kThreads, 1) attention_kernel(AttentionArgs a) {
  device::let_successors_start();
  device::wait_for_predecessors();
  using L = Layout<D>;
  extern __shared__ __align__(16) unsigned char memory[];
  T* q = reinterpret_cast<T*>(memory);
  const int group = threadIdx.x / kGroup, warp_row = threadIdx.x % kGroup / 32 * 16;
  T* mine = q + kRows * L::kPitch + group * L::kGroupElements;
  const int b = blockIdx.z;
  const Tile t{b,
               static_cast<int>(blockIdx.y),
               static_cast<int>(blockIdx.x) * kRows,
               a.rows * (a.heads / a.key_heads),
               key_count(a, 0, b),
               key_count(a, 1, b)};
  const int chunks = (t.first + t.last + L::kKeys - 1) / L::kKeys;
  const int count = (chunks + 1 - group) / 2;  // of this group: chunks group, group + 2, ..
  load_queries<T, D>(a, t, q);
  const Source<T> from = source<T>(a, t);
  if (count > 0) load_chunk<T, D>(a, t, from, group * L::kKeys, mine);
  device::copy_async_commit();
  float o[D / 8][4] = {}, s[L::kKeys / 8][4];
  Running run;
  device::copy_async_wait<0>();
  __syncthreads();
  for (int i = 0; i < count; ++i) {
    const T* k = mine + i % kStages * 2 * L::kChunk;
    const int j = (group + 2 * i) * L::kKeys;
    if (i + 1 < count) {
      load_chunk<T, D>(a, t, from, j + 2 * L::kKeys, mine + (i + 1) % kStages * 2 * L::kChunk);
    }
    device::copy_async_commit();
    scores<T, D>(q + warp_row * L::kPitch, k, s);
    mask<D>(a, t, warp_row, j, s);
    soften<D>(s, o, run);
    gather_values<T, D>(s, k + L::kChunk, o);
    device::copy_async_wait<0>();
    group_sync(group);
  }
  float* other = reinterpret_cast<float*>(q + kRows * L::kPitch + L::kGroupElements);
  join_and_store<D>(a, t, other, warp_row, o, run);
}

template <class T, int D>
void run(const AttentionArgs& a, cudaStream_t stream) {
  static_assert(Layout<D>::kBytes <= 227 * 1024);
  cudaFuncSetAttribute(attention_kernel<T, D>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                       static_cast<int>(Layout<D>::kBytes));
  const dim3 grid(blocks(std::int64_t{a.rows} * (a.heads / a.key_heads), kRows),
                  static_cast<unsigned>(a.key_heads), static_cast<unsigned>(a.batch));
  launch(attention_kernel<T, D>, {grid, kThreads, Layout<D>::kBytes}, stream, a);
}

template <class T>
void run_width(const AttentionArgs& a, cudaStream_t stream) {
  if (a.width <= 80) {
    run<T, 80>(a, stream);
  } else if (a.width <= 128) {
    run<T, 128>(a, stream);
  } else {
    run<T, 256>(a, stream);
  }
}

bool aligned(const void* p, std::initializer_list<std::int64_t> strides) {
  bool all = reinterpret_cast<std::uintptr_t>(p) % 16 == 0;
  for (const std::int64_t s : strides) all &= s % 8 == 0;
  return all;
}

}  // namespace

bool suits_tensor_cores(const AttentionArgs& a) {
  auto half = [](DType t) { return t == DType::bf16 || t == DType::f16; };
  if (!half(a.q_dtype) || !half(a.piece[0].k_dtype)) return false;
  if (a.width % 8 || a.width > 256 || a.out_row % 2 || a.out_head % 2 || a.out_batch % 2)
    return false;
  bool fits = aligned(a.q, {a.q_batch, a.q_row, a.q_head}) &&
              reinterpret_cast<std::uintptr_t>(a.out) % 4 == 0;
  for (const KeyPiece& p : a.piece) {
    if (p.count == 0) continue;
    fits &= p.k_dtype == a.piece[0].k_dtype && p.v_dtype == a.piece[0].k_dtype &&
            aligned(p.k, {p.k_batch, p.k_row, p.k_head}) &&
            aligned(p.v, {p.v_batch, p.v_row, p.v_head});
  }
  return fits;
}

void launch_attention_mma(const AttentionArgs& a, cudaStream_t stream) {
  if (a.piece[0].k_dtype == DType::bf16) {
    run_width<__nv_bfloat16>(a, stream);
  } else {
    run_width<__half>(a, stream);
  }
}

}  // namespace tendon::cuda
