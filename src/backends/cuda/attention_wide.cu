// Attention of heads wider than what a CTA can hold: scores by tiles into temporary memory, then
// weights and sums, each CTA 64 rows and 64 columns.
#include "backends/cuda/attention.h"
#include "backends/cuda/device/mma.cuh"
#include "backends/cuda/device/tensor_copy.cuh"
#include "backends/cuda/keys.cuh"
#include "backends/cuda/launch.h"

namespace tendon::cuda {
namespace {

constexpr int kTile = 64, kThreads = 128, kPitch = kTile + 8;

int padded(int keys) { return (keys + kTile - 1) / kTile * kTile; }

// 64 rows of 64 elements; zeros past `rows` and `columns`.
__device__ void load_tile(const __nv_bfloat16* from, int64_t stride, int rows, int columns,
                          __nv_bfloat16* to) {
#pragma unroll
  for (int i = threadIdx.x; i < kTile * 8; i += kThreads) {
    const int r = i / 8, c = i % 8 * 8;
    const bool real = r < rows && c < columns;
    device::copy_async(to + r * kPitch + c, real ? from + r * stride + c : nullptr);
  }
}

// One step of 64 of the summed dimension for a warp's 16 rows: d += a b^T (b by rows) or a b.
template <bool kTransposed>
__device__ void multiply(const __nv_bfloat16* a, const __nv_bfloat16* b, float (&d)[8][4]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < kTile; k += 16) {
    uint32_t rows[4];
    device::ldmatrix(rows, a + (lane % 16) * kPitch + k + lane / 16 * 8);
#pragma unroll
    for (int n = 0; n < kTile; n += 16) {
      uint32_t other[4];
      if constexpr (kTransposed) {
        device::ldmatrix(other, b + (n + lane % 8 + lane / 16 * 8) * kPitch + k + lane / 8 % 2 * 8);
      } else {
        device::ldmatrix_transposed(other, b + (k + lane % 16) * kPitch + n + lane / 16 * 8);
      }
      device::mma<__nv_bfloat16>(d[n / 8], rows, other[0], other[1]);
      device::mma<__nv_bfloat16>(d[n / 8 + 1], rows, other[2], other[3]);
    }
  }
}

__global__ void scores_kernel(AttentionArgs a, float* scores) {
  __shared__ __align__(16) __nv_bfloat16 memory[2][2][kTile * kPitch];
  device::let_successors_start();
  device::wait_for_predecessors();
  const KeyPiece& p = a.piece[0];
  const int key = blockIdx.x * kTile, row = blockIdx.y * kTile, b = blockIdx.z / a.heads;
  const int h = blockIdx.z % a.heads, key_head = h / (a.heads / a.key_heads);
  const auto* q =
      static_cast<const __nv_bfloat16*>(a.q) + b * a.q_batch + row * a.q_row + h * a.q_head;
  const auto* k =
      static_cast<const __nv_bfloat16*>(p.k) + b * p.k_batch + key * p.k_row + key_head * p.k_head;
  const int steps = (a.width + kTile - 1) / kTile, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float d[8][4] = {};
  for (int i = 0; i <= steps; ++i) {
    if (i < steps) {
      load_tile(q + i * kTile, a.q_row, a.rows - row, a.width - i * kTile, memory[i % 2][0]);
      load_tile(k + i * kTile, p.k_row, p.count - key, a.width - i * kTile, memory[i % 2][1]);
    }
    device::copy_async_commit();
    if (i == 0) continue;
    device::copy_async_wait<1>();
    __syncthreads();
    multiply<true>(memory[(i - 1) % 2][0] + warp * 16 * kPitch, memory[(i - 1) % 2][1], d);
    __syncthreads();
  }
  const int pitch = gridDim.x * kTile;
  float* to = scores +
              (int64_t{blockIdx.z} * gridDim.y * kTile + row + warp * 16 + lane / 4) * pitch + key +
              lane % 4 * 2;
#pragma unroll
  for (int n = 0; n < 8; ++n) {
    *reinterpret_cast<float2*>(to + n * 8) = make_float2(d[n][0], d[n][1]);
    *reinterpret_cast<float2*>(to + 8 * pitch + n * 8) = make_float2(d[n][2], d[n][3]);
  }
}

// Weights of a warp's 16 rows for 64 keys, relative to the row's largest score; adds to the totals.
__device__ void weigh(const float* scores, int pitch, int key, int seen, const float (&top)[16],
                      float scale, float (&total)[16], __nv_bfloat16* to) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int r = 0; r < 16; ++r) {
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const int column = lane + c * 32;
      const float x = scores[int64_t{r} * pitch + key + column];
      const float w = key + column < seen ? exp2f(x * scale - top[r]) : 0.0f;
      total[r] += w;
      to[r * kPitch + column] = __float2bfloat16(w);
    }
  }
}

__global__ void values_kernel(AttentionArgs a, const float* scores, int pitch) {
  __shared__ __align__(16) __nv_bfloat16 weights[kTile * kPitch], values[2][kTile * kPitch];
  device::let_successors_start();
  device::wait_for_predecessors();
  const KeyPiece& p = a.piece[0];
  const int column = blockIdx.x * kTile, row = blockIdx.y * kTile, b = blockIdx.z / a.heads;
  const int h = blockIdx.z % a.heads, key_head = h / (a.heads / a.key_heads);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, seen = key_count(a, 0, b);
  const float scale = a.scale * 1.4426950408889634f;
  const float* mine = scores + (int64_t{blockIdx.z} * gridDim.y * kTile + row + warp * 16) * pitch;
  const auto* v =
      static_cast<const __nv_bfloat16*>(p.v) + b * p.v_batch + key_head * p.v_head + column;
  load_tile(v, p.v_row, seen, a.width - column, values[0]);
  device::copy_async_commit();
  float top[16], total[16] = {}, d[8][4] = {};
#pragma unroll
  for (int r = 0; r < 16; ++r) {
    float x = -INFINITY;
    for (int j = lane; j < seen; j += 32) x = fmaxf(x, mine[int64_t{r} * pitch + j] * scale);
    top[r] = device::warp_max(x);
  }
  for (int key = 0, i = 0; key < seen; key += kTile, ++i) {
    if (key + kTile < seen) {
      load_tile(v + int64_t{key + kTile} * p.v_row, p.v_row, seen - key - kTile, a.width - column,
                values[(i + 1) % 2]);
    }
    device::copy_async_commit();
    weigh(mine, pitch, key, seen, top, scale, total, weights + warp * 16 * kPitch);
    device::copy_async_wait<1>();
    __syncthreads();
    multiply<false>(weights + warp * 16 * kPitch, values[i % 2], d);
    __syncthreads();
  }
#pragma unroll
  for (int r = 0; r < 16; ++r) {
    total[r] = device::warp_sum(total[r]);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if (r != lane / 4 + half * 8 || row + warp * 16 + r >= a.rows) continue;
      const float inverse = total[r] > 0 ? 1.0f / total[r] : 0.0f;
      const int64_t to = b * a.out_batch + (row + warp * 16 + r) * a.out_row + h * a.out_head +
                         column + lane % 4 * 2;
#pragma unroll
      for (int n = 0; n < 8; ++n) {
        if (column + n * 8 >= a.width) continue;
        device::store(a.out, to + n * 8, a.out_dtype, d[n][half * 2] * inverse);
        device::store(a.out, to + n * 8 + 1, a.out_dtype, d[n][half * 2 + 1] * inverse);
      }
    }
  }
}

bool aligned(const void* p, std::initializer_list<std::int64_t> strides) {
  bool all = reinterpret_cast<std::uintptr_t>(p) % 16 == 0;
  for (const std::int64_t s : strides) all &= s % 8 == 0;
  return all;
}

}  // namespace

bool suits_wide(const AttentionArgs& a) {
  const KeyPiece& p = a.piece[0];
  return a.width > 256 && a.width % 8 == 0 && a.piece[1].count == 0 && !p.bias && !a.score_bias &&
         !a.visible && a.q_dtype == DType::bf16 && p.k_dtype == DType::bf16 &&
         p.v_dtype == DType::bf16 && p.count > 0 && aligned(a.q, {a.q_batch, a.q_row, a.q_head}) &&
         aligned(p.k, {p.k_batch, p.k_row, p.k_head}) &&
         aligned(p.v, {p.v_batch, p.v_row, p.v_head});
}

void launch_attention_wide(const AttentionArgs& a, float* scores, cudaStream_t stream) {
  const int keys = padded(a.piece[0].count);
  const unsigned rows = blocks(a.rows, kTile), all = static_cast<unsigned>(a.batch * a.heads);
  launch(scores_kernel, {dim3(static_cast<unsigned>(keys / kTile), rows, all), kThreads}, stream, a,
         scores);
  launch(values_kernel, {dim3(blocks(a.width, kTile), rows, all), kThreads}, stream, a, scores,
         keys);
}

}  // namespace tendon::cuda
