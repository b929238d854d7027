// Attention for any dtype: one warp a query row, keys one after another.
#include "backends/cuda/attention.h"
#include "backends/cuda/device/numeric.cuh"
#include "backends/cuda/device/tensor_copy.cuh"
#include "backends/cuda/keys.cuh"
#include "backends/cuda/launch.h"

namespace tendon::cuda {
namespace {

constexpr int kThreads = 128;

template <int N>  // elements of a head that a lane holds
__global__ void attention_kernel(AttentionArgs a) {
  device::let_successors_start();
  device::wait_for_predecessors();
  const int task = (blockIdx.x * kThreads + threadIdx.x) / 32, lane = threadIdx.x % 32;
  if (task >= a.batch * a.heads * a.rows) return;
  const int s = task % a.rows, h = task / a.rows % a.heads, b = task / a.rows / a.heads;
  const int key_head = h / (a.heads / a.key_heads);
  float q[N], sum[N];
  const int64_t at = b * a.q_batch + s * a.q_row + h * a.q_head;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const int d = lane + 32 * i;
    q[i] = d < a.width ? device::load(a.q, at + d, a.q_dtype) : 0.0f;
    sum[i] = 0;
  }
  const int first = key_count(a, 0, b), last = key_count(a, 1, b);
  const int seen = seen_keys(a, s, first, last);
  float top = -INFINITY, total = 0;
  for (int j = 0; j < seen; ++j) {
    const bool second = j >= first;
    const KeyPiece& p = a.piece[second];
    const int row = second ? j - first : j;
    const int64_t k = b * p.k_batch + row * p.k_row + key_head * p.k_head;
    float dot = 0;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const int d = lane + 32 * i;
      if (d < a.width) dot += q[i] * device::load(p.k, k + d, p.k_dtype);
    }
    dot = device::warp_sum(dot) * a.scale;
    if (p.bias) dot += p.bias[int64_t{b} * p.count + row];
    if (!second && a.score_bias) dot += a.score_bias[(int64_t{h} * a.rows + s) * p.count + row];
    const float next = fmaxf(top, dot);
    const float keep = next == -INFINITY ? 1.0f : expf(top - next);
    const float weight = next == -INFINITY ? 0.0f : expf(dot - next);
    const int64_t v = b * p.v_batch + row * p.v_row + key_head * p.v_head;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const int d = lane + 32 * i;
      const float value = d < a.width ? device::load(p.v, v + d, p.v_dtype) : 0.0f;
      sum[i] = sum[i] * keep + weight * value;
    }
    total = total * keep + weight;
    top = next;
  }
  const float inverse = total > 0 ? 1.0f / total : 0.0f;
  const int64_t to = b * a.out_batch + s * a.out_row + h * a.out_head;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const int d = lane + 32 * i;
    if (d < a.width) device::store(a.out, to + d, a.out_dtype, sum[i] * inverse);
  }
}

}  // namespace

void launch_attention_plain(const AttentionArgs& a, cudaStream_t stream) {
  const unsigned grid = blocks(std::int64_t{a.batch} * a.heads * a.rows, kThreads / 32);
  if (a.width <= 128) {
    launch(attention_kernel<4>, {dim3(grid), kThreads}, stream, a);
  } else if (a.width <= 256) {
    launch(attention_kernel<8>, {dim3(grid), kThreads}, stream, a);
  } else {
    launch(attention_kernel<32>, {dim3(grid), kThreads}, stream, a);
  }
}

}  // namespace tendon::cuda
