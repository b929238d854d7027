// Attention on a warpgroup's tensor cores. A CTA owns 64 or 128 rows: queries times the heads that
// share keys. One warp brings keys and values; each warpgroup multiplies its 64 rows with all of
// them. The CTAs of a cluster share rows and take chunks of keys in turn; their sums are joined in
// the order of ranks.
#include <bit>

#include "backends/cuda/attention.h"
#include "backends/cuda/device/tensor_copy.cuh"
#include "backends/cuda/device/wgmma.cuh"
#include "backends/cuda/keys.cuh"
#include "backends/cuda/launch.h"
#include "backends/cuda/tensor_map.h"

namespace tendon::cuda {
namespace {

constexpr int kKeys = 64, kGroupRows = 64, kMaxSplit = 4;
constexpr float kLog2e = 1.4426950408889634f;

struct Maps {
  CUtensorMap q, k[2], v[2];
};

struct Plan {
  AttentionArgs a;
  int packed = 1;  // heads in the rows of a tile, a power of two
  int packed_shift = 0;
  int split = 1;  // CTAs of a cluster
};

template <int D, int G>
struct Layout {
  static constexpr int kBlocks = (D + 63) / 64;
  static constexpr int kTile = kKeys * 128;  // bytes of 64 rows of 64 elements
  static constexpr int kStages = D > 128 || G == 1 ? 2 : 3;
  static constexpr int kQueries = G * kBlocks * kTile;
  static constexpr int kStage = 2 * kBlocks * kTile;
  static constexpr int kPitch = D + 4;  // of the sums in fp32
  static constexpr int kRows = G * kGroupRows;
  static constexpr int kStats = kQueries + kStages * kStage;
  static constexpr int kFactors = kStats + kRows * 8;
  static constexpr int kBarriers = kFactors + kRows * kMaxSplit * 4;
  static constexpr std::size_t kBytes = kBarriers + (1 + 3 * kStages) * 8 + 1024;
  // A producer of a whole warpgroup can hand its registers to the others.
  static constexpr bool kHands = D > 128 && G == 2;
  static constexpr int kThreads = G * 128 + (kHands ? 128 : 32);
  static_assert(kRows * kPitch * 4 <= kStats, "the sums fit where keys were");
};

#if TENDON_WGMMA

struct Tile {
  int b, head, key_head, query;  // first head and query
  int keys[2];                   // seen of either piece
  int first_chunks, chunks;      // of piece 0, of both
};

__device__ inline Tile tile_of(const Plan& p, int rows) {
  const AttentionArgs& a = p.a;
  Tile t;
  t.b = blockIdx.z;
  t.head = static_cast<int>(blockIdx.y) * p.packed;
  t.key_head = t.head / (a.heads / a.key_heads);
  t.query = static_cast<int>(blockIdx.x) / p.split * (rows / p.packed);
  t.keys[0] = key_count(a, 0, t.b), t.keys[1] = key_count(a, 1, t.b);
  t.first_chunks = (t.keys[0] + kKeys - 1) / kKeys;
  t.chunks = t.first_chunks + (t.keys[1] + kKeys - 1) / kKeys;
  return t;
}

template <class L>
struct Barriers {
  device::Barrier* queries;
  __device__ explicit Barriers(unsigned char* memory)
      : queries(reinterpret_cast<device::Barrier*>(memory + L::kBarriers)) {}
  __device__ device::Barrier* keys(int slot) const { return queries + 1 + slot; }
  __device__ device::Barrier* values(int slot) const { return queries + 1 + L::kStages + slot; }
  __device__ device::Barrier* empty(int slot) const { return queries + 1 + 2 * L::kStages + slot; }
};

template <int D, int G>
__device__ void produce(const Maps& m, const Plan& p, const Tile& t, unsigned char* memory,
                        int rank) {
  using L = Layout<D, G>;
  const Barriers<L> bars(memory);
  device::barrier_expect(bars.queries, L::kQueries);
  for (int g = 0; g < G; ++g) {
    for (int b = 0; b < L::kBlocks; ++b) {
      device::copy_box(memory + (g * L::kBlocks + b) * L::kTile, &m.q, bars.queries, b * 64, t.head,
                       t.query + g * (kGroupRows / p.packed), t.b);
    }
  }
  int i = 0;
  for (int c = rank; c < t.chunks; c += p.split, ++i) {
    const int slot = i % L::kStages, piece = c >= t.first_chunks;
    const int row = (piece ? c - t.first_chunks : c) * kKeys;
    unsigned char* to = memory + L::kQueries + slot * L::kStage;
    if (i >= L::kStages) device::barrier_wait(bars.empty(slot), i / L::kStages - 1 & 1);
    device::barrier_expect(bars.keys(slot), L::kStage / 2);
    for (int b = 0; b < L::kBlocks; ++b) {
      device::copy_box(to + b * L::kTile, &m.k[piece], bars.keys(slot), b * 64, t.key_head, row,
                       t.b);
    }
    device::barrier_expect(bars.values(slot), L::kStage / 2);
    for (int b = 0; b < L::kBlocks; ++b) {
      device::copy_box(to + (L::kBlocks + b) * L::kTile, &m.v[piece], bars.values(slot), b * 64,
                       t.key_head, row, t.b);
    }
  }
}

__device__ inline float power_of_two(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Scaled and biased scores in units of log2; -inf where a key is not seen.
__device__ inline void mask(const Plan& p, const Tile& t, int chunk, float (&s)[kKeys / 2]) {
  const int piece = chunk >= t.first_chunks;
  const int first = (piece ? chunk - t.first_chunks : chunk) * kKeys, seen = t.keys[piece];
  const float scale = p.a.scale * kLog2e;
#pragma unroll
  for (float& x : s) x *= scale;
  const float* bias = p.a.piece[piece].bias;
  if (!bias && first + kKeys <= seen) return;
  if (bias) bias += int64_t{t.b} * p.a.piece[piece].count;
#pragma unroll
  for (int i = 0; i < kKeys / 2; ++i) {
    const int key = first + i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2;
    if (key >= seen) {
      s[i] = -INFINITY;
    } else if (bias) {
      s[i] += bias[key] * kLog2e;
    }
  }
}

struct Running {
  float top[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};
};

template <int D>
__device__ inline void soften(float (&s)[kKeys / 2], float (&o)[D / 2], Running& run) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float top = run.top[half];
#pragma unroll
    for (int i = 0; i < kKeys / 2; i += 4) {
      top = fmaxf(top, fmaxf(s[i + half * 2], s[i + half * 2 + 1]));
    }
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
    const float base = top == -INFINITY ? 0.0f : top;
    const float keep = power_of_two(run.top[half] - base);
    float total = 0;
#pragma unroll
    for (int i = 0; i < kKeys / 2; i += 4) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        float& x = s[i + half * 2 + c];
        x = power_of_two(x - base);
        total += x;
      }
    }
    run.total[half] = run.total[half] * keep + total;
    run.top[half] = top;
#pragma unroll
    for (int i = 0; i < D / 2; i += 4) o[i + half * 2] *= keep, o[i + half * 2 + 1] *= keep;
  }
}

// Rows of values behind the last key seen may hold anything, and 0 times that must be 0. Every
// warpgroup does this for itself before it reads.
template <int D, int G>
__device__ inline void clear_unseen(unsigned char* values, int seen) {
  using L = Layout<D, G>;
  const int rows = kKeys - seen;
  for (int i = threadIdx.x % 128; i < rows * 8 * L::kBlocks; i += 128) {
    unsigned char* row = values + i / (rows * 8) * L::kTile + (seen + i / 8 % rows) * 128;
    *reinterpret_cast<uint4*>(row + i % 8 * 16) = make_uint4(0, 0, 0, 0);
  }
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  asm volatile("bar.sync %0, 128;" ::"r"(static_cast<int>(threadIdx.x) / 128 + 2) : "memory");
}

template <class T, int D, int G>
__device__ void consume(const Plan& p, const Tile& t, unsigned char* memory, int rank,
                        float (&o)[D / 2], Running& run) {
  using L = Layout<D, G>;
  const Barriers<L> bars(memory);
  const int group = threadIdx.x / 128;
  const uint32_t queries = device::shared_address(memory + group * L::kBlocks * L::kTile);
  float s[kKeys / 2];
#pragma unroll
  for (float& x : o) x = 0;
  device::barrier_wait(bars.queries, 0);
  int i = 0;
  for (int c = rank; c < t.chunks; c += p.split, ++i) {
    const int slot = i % L::kStages, parity = i / L::kStages & 1;
    const uint32_t keys = device::shared_address(memory + L::kQueries + slot * L::kStage);
    device::barrier_wait(bars.keys(slot), parity);
    device::wgmma_fence();
#pragma unroll
    for (int k = 0; k < D / 16; ++k) {
      const uint32_t at = k / 4 * L::kTile + k % 4 * 32;
      device::Wgmma<kKeys, T>::run(s, device::tile_descriptor(queries + at),
                                   device::tile_descriptor(keys + at), k > 0);
    }
    device::wgmma_commit();
    device::wgmma_wait<0>();
    mask(p, t, c, s);
    soften<D>(s, o, run);
    uint32_t weights[kKeys / 16][4];
#pragma unroll
    for (int n = 0; n < kKeys / 16; ++n) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        weights[n][j] = device::pack<T>(s[8 * n + 2 * j], s[8 * n + 2 * j + 1]);
      }
    }
    device::barrier_wait(bars.values(slot), parity);
    const int piece = c >= t.first_chunks;
    const int left = t.keys[piece] - (piece ? c - t.first_chunks : c) * kKeys;
    if (left < kKeys && t.keys[piece] < p.a.piece[piece].count) {
      clear_unseen<D, G>(memory + L::kQueries + slot * L::kStage + L::kStage / 2, left);
    }
    device::wgmma_fence();
#pragma unroll
    for (int n = 0; n < kKeys / 16; ++n) {
      const uint32_t at = keys + L::kBlocks * L::kTile + n * 16 * 128;
      device::WgmmaRows<D, T>::run(o, weights[n], device::tile_descriptor(at, L::kTile));
    }
    device::wgmma_commit();
    device::wgmma_wait<0>();
    if (threadIdx.x % 32 == 0) device::arrive(bars.empty(slot));
  }
}

// Unscaled sums, the largest score and the sum of weights of each row into shared memory.
template <int D, int G>
__device__ void leave(unsigned char* memory, const float (&o)[D / 2], Running& run) {
  using L = Layout<D, G>;
  float* sums = reinterpret_cast<float*>(memory);
  float* stats = reinterpret_cast<float*>(memory + L::kStats);
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    run.total[half] += __shfl_xor_sync(0xffffffffu, run.total[half], 1);
    run.total[half] += __shfl_xor_sync(0xffffffffu, run.total[half], 2);
    const int row = static_cast<int>(threadIdx.x) / 32 * 16 + lane / 4 + half * 8;
#pragma unroll
    for (int i = 0; i < D / 2; i += 4) {
      *reinterpret_cast<float2*>(sums + row * L::kPitch + i * 2 + lane % 4 * 2) =
          make_float2(o[i + half * 2], o[i + half * 2 + 1]);
    }
    if (lane % 4 == 0) stats[row * 2] = run.top[half], stats[row * 2 + 1] = run.total[half];
  }
}

// Of each row of this CTA's share: what each rank's sums are multiplied by, over the total.
template <int D, int G>
__device__ void weigh(const Plan& p, unsigned char* memory, int first, int count) {
  using L = Layout<D, G>;
  float* factors = reinterpret_cast<float*>(memory + L::kFactors);
  for (int row = threadIdx.x; row < count; row += G * 128) {
    const void* stats = memory + L::kStats + (first + row) * 8;
    float top[kMaxSplit], sum[kMaxSplit], highest = -INFINITY, total = 0;
#pragma unroll
    for (int r = 0; r < kMaxSplit; ++r) {
      const uint32_t at = device::peer_address(stats, static_cast<uint32_t>(min(r, p.split - 1)));
      top[r] = device::load_peer_scalar(at), sum[r] = device::load_peer_scalar(at + 4);
      highest = fmaxf(highest, top[r]);
    }
    const float base = highest == -INFINITY ? 0.0f : highest;
#pragma unroll
    for (int r = 0; r < kMaxSplit; ++r) {
      top[r] = r < p.split ? power_of_two(top[r] - base) : 0.0f;
      total += sum[r] * top[r];
    }
    const float inverse = total > 0 ? 1.0f / total : 0.0f;
#pragma unroll
    for (int r = 0; r < kMaxSplit; ++r) factors[row * kMaxSplit + r] = top[r] * inverse;
  }
}

// This CTA's share of the rows from the sums of all CTAs of the cluster, 8 columns a thread.
template <int D, int G>
__device__ void join(const Plan& p, const Tile& t, unsigned char* memory, int rank) {
  using L = Layout<D, G>;
  constexpr int kChunks = D / 8;
  const int each = (L::kRows + p.split - 1) / p.split, first = rank * each;
  const int count = min(each, L::kRows - first);
  weigh<D, G>(p, memory, first, count);
  asm volatile("bar.sync 1, %0;" ::"n"(G * 128) : "memory");
  const float* factors = reinterpret_cast<const float*>(memory + L::kFactors);
#pragma unroll 2
  for (int i = threadIdx.x; i < count * kChunks; i += G * 128) {
    const int own = i / kChunks, row = first + own, column = i % kChunks * 8;
    float sum[8] = {};
#pragma unroll
    for (int r = 0; r < kMaxSplit; ++r) {
      if (r >= p.split) break;
      const uint32_t from =
          device::peer_address(memory + (row * L::kPitch + column) * 4, static_cast<uint32_t>(r));
      const float keep = factors[own * kMaxSplit + r];
      const float4 x = device::load_peer(from), y = device::load_peer(from + 16);
      sum[0] += x.x * keep, sum[1] += x.y * keep, sum[2] += x.z * keep, sum[3] += x.w * keep;
      sum[4] += y.x * keep, sum[5] += y.y * keep, sum[6] += y.z * keep, sum[7] += y.w * keep;
    }
    const int shift = p.packed_shift, query = t.query + (row >> shift);
    if (query >= p.a.rows || column >= p.a.width) continue;
    const int head = t.head + (row & ((1 << shift) - 1));
    const int64_t to = t.b * p.a.out_batch + query * p.a.out_row + head * p.a.out_head + column;
    device::store_vector<8>(p.a.out, to, p.a.out_dtype, sum);
  }
}

// Where no other CTA has a part: from registers.
template <int D>
__device__ void finish(const Plan& p, const Tile& t, const float (&o)[D / 2], Running& run) {
  const int lane = threadIdx.x % 32, shift = p.packed_shift;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    run.total[half] += __shfl_xor_sync(0xffffffffu, run.total[half], 1);
    run.total[half] += __shfl_xor_sync(0xffffffffu, run.total[half], 2);
    const float inverse = run.total[half] > 0 ? 1.0f / run.total[half] : 0.0f;
    const int row = static_cast<int>(threadIdx.x) / 32 * 16 + lane / 4 + half * 8;
    const int query = t.query + (row >> shift), head = t.head + (row & ((1 << shift) - 1));
    if (query >= p.a.rows) continue;
    const int64_t to = t.b * p.a.out_batch + query * p.a.out_row + head * p.a.out_head;
#pragma unroll
    for (int i = 0; i < D / 2; i += 4) {
      const int column = i * 2 + lane % 4 * 2;
      if (column >= p.a.width) continue;
      const float x = o[i + half * 2] * inverse, y = o[i + half * 2 + 1] * inverse;
      if (p.a.out_dtype == DType::bf16) {
        *reinterpret_cast<uint32_t*>(static_cast<__nv_bfloat16*>(p.a.out) + to + column) =
            device::pack_bf16(x, y);
      } else {
        device::store(p.a.out, to + column, p.a.out_dtype, x);
        device::store(p.a.out, to + column + 1, p.a.out_dtype, y);
      }
    }
  }
}

#endif

template <class T, int D, int G>
__global__ void __launch_bounds__(Layout<D, G>::kThreads, D > 128 ? 1 : 3 - G)
    attention_sm90_kernel(const __grid_constant__ Maps m, const __grid_constant__ Plan p) {
#if TENDON_WGMMA
  using L = Layout<D, G>;
  extern __shared__ unsigned char raw[];
  unsigned char* memory = raw + (1024 - device::shared_address(raw) % 1024) % 1024;
  const Barriers<L> bars(memory);
  const int rank = p.split > 1 ? static_cast<int>(device::cluster_rank()) : 0;
  const bool producer = threadIdx.x >= G * 128;
  if (threadIdx.x == 0) {
    device::barrier_init(bars.queries, 1);
    for (int i = 0; i < L::kStages; ++i) {
      device::barrier_init(bars.keys(i), 1);
      device::barrier_init(bars.values(i), 1);
      device::barrier_init(bars.empty(i), G * 4);
    }
    device::barrier_init_fence();
  }
  __syncthreads();
  device::let_successors_start();
  device::wait_for_predecessors();
  const Tile t = tile_of(p, L::kRows);
  if (producer) {
    if constexpr (L::kHands) asm volatile("setmaxnreg.dec.sync.aligned.u32 24;");
    if (threadIdx.x == G * 128) produce<D, G>(m, p, t, memory, rank);
    if (p.split > 1) {
      device::cluster_sync();
      device::cluster_sync();
    }
  } else {
    if constexpr (L::kHands) asm volatile("setmaxnreg.inc.sync.aligned.u32 240;");
    float o[D / 2];
    Running run;
    consume<T, D, G>(p, t, memory, rank, o, run);
    if (p.split == 1) {
      finish<D>(p, t, o, run);
    } else {
      asm volatile("bar.sync 1, %0;" ::"n"(G * 128) : "memory");
      leave<D, G>(memory, o, run);
      device::cluster_sync();
      join<D, G>(p, t, memory, rank);
      device::cluster_sync();
    }
  }
#endif
}

MapShape query_shape(const AttentionArgs& a, int packed) {
  MapShape s{.rank = 4};
  s.extent = {a.width, a.heads, a.rows, a.batch};
  s.stride = {1, a.q_head, a.q_row, a.q_batch};
  s.box = {64, static_cast<std::uint32_t>(packed), static_cast<std::uint32_t>(kGroupRows / packed),
           1};
  return s;
}

MapShape key_shape(const AttentionArgs& a, const KeyPiece& p, bool values) {
  MapShape s{.rank = 4};
  s.extent = {a.width, a.key_heads, p.count, a.batch};
  s.stride = values ? std::array<std::int64_t, 4>{1, p.v_head, p.v_row, p.v_batch}
                    : std::array<std::int64_t, 4>{1, p.k_head, p.k_row, p.k_batch};
  s.box = {64, 1, kKeys, 1};
  return s;
}

int packed_heads(const AttentionArgs& a) {
  const int shared = a.heads / a.key_heads;
  return kGroupRows % shared == 0 ? shared : 1;
}

template <class T, int D, int G>
void run(const AttentionArgs& a, int split, cudaStream_t stream) {
  using L = Layout<D, G>;
  const int packed = packed_heads(a);
  const Plan p{a, packed, std::countr_zero(static_cast<unsigned>(packed)), split};
  Maps m{.q = make_map(a.q, query_shape(a, p.packed))};
  for (int i = 0; i < 2; ++i) {
    const KeyPiece& piece = a.piece[i].count ? a.piece[i] : a.piece[0];
    m.k[i] = make_map(piece.k, key_shape(a, piece, false));
    m.v[i] = make_map(piece.v, key_shape(a, piece, true));
  }
  check(cudaFuncSetAttribute(attention_sm90_kernel<T, D, G>,
                             cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(L::kBytes)),
        "shared memory of attention");
  const dim3 grid(blocks(a.rows, L::kRows / p.packed) * static_cast<unsigned>(split),
                  static_cast<unsigned>(a.heads / p.packed), static_cast<unsigned>(a.batch));
  launch(attention_sm90_kernel<T, D, G>,
         {grid, L::kThreads, L::kBytes, static_cast<unsigned>(split)}, stream, m, p);
}

// Twice the rows halve the traffic of keys; CTAs of a cluster share the keys of few tiles.
template <class T, int D>
void run_width(const AttentionArgs& a, int multiprocessors, cudaStream_t stream) {
  const int packed = packed_heads(a), others = a.heads / packed * a.batch;
  auto tiles = [&](int groups) {
    return static_cast<int>(blocks(a.rows, groups * kGroupRows / packed)) * others;
  };
  const int chunks = (a.piece[0].count + a.piece[1].count + kKeys - 1) / kKeys;
  const bool small = D <= 128 && tiles(1) <= 2 * multiprocessors;
  const int groups = small || a.rows * packed <= kGroupRows ? 1 : 2;
  // Clusters of more than two leave some multiprocessors idle.
  auto room = [&](int split) { return split > 2 ? multiprocessors * 4 / 5 : multiprocessors; };
  int split = 1;
  while (split < kMaxSplit && tiles(groups) * (split + 1) <= room(split + 1) &&
         chunks >= 2 * split + 2) {
    ++split;
  }
  if (groups == 2) {
    run<T, D, 2>(a, split, stream);
  } else {
    run<T, D, 1>(a, split, stream);
  }
}

}  // namespace

bool suits_warpgroups(const AttentionArgs& a) {
  const int widest = a.q_dtype == DType::bf16 ? 256 : a.q_dtype == DType::f16 ? 128 : 0;
  if (a.score_bias || a.visible || a.width % 8 || a.width > widest) return false;
  const std::int64_t unit = a.out_dtype == DType::f32 ? 4 : 8;
  bool fits = suits_map(a.q, query_shape(a, packed_heads(a))) && a.out_row % unit == 0 &&
              a.out_head % unit == 0 && a.out_batch % unit == 0 &&
              reinterpret_cast<std::uintptr_t>(a.out) % 16 == 0;
  for (const KeyPiece& p : a.piece) {
    if (p.count == 0) continue;
    fits &= p.k_dtype == a.q_dtype && p.v_dtype == a.q_dtype &&
            suits_map(p.k, key_shape(a, p, false)) && suits_map(p.v, key_shape(a, p, true));
  }
  return fits && a.piece[0].count > 0;
}

void launch_attention_sm90(const AttentionArgs& a, int multiprocessors, cudaStream_t stream) {
  using Bf16 = __nv_bfloat16;
  if (a.q_dtype == DType::f16) {
    run_width<__half, 128>(a, multiprocessors, stream);
  } else if (a.width <= 64) {
    run_width<Bf16, 64>(a, multiprocessors, stream);
  } else if (a.width <= 80) {
    run_width<Bf16, 80>(a, multiprocessors, stream);
  } else if (a.width <= 128) {
    run_width<Bf16, 128>(a, multiprocessors, stream);
  } else {
    run_width<Bf16, 256>(a, multiprocessors, stream);
  }
}

}  // namespace tendon::cuda
