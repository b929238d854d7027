#include "backends/cuda/device/tensor_copy.cuh"
#include "backends/cuda/launch.h"
#include "backends/cuda/norm.h"

#include <algorithm>

#include "backends/cuda/device/fast_curve.cuh"
#include "backends/cuda/device/numeric.cuh"

namespace tendon::cuda {
namespace {

constexpr int kThreads = 256, kHeld = 4;  // vectors of a row that a thread keeps

template <int ROW>
__device__ float row_sum(float v) {
  v = device::warp_sum(v);
  if constexpr (ROW == 32) return v;
  __shared__ float sums[kThreads / 32];
  __syncthreads();
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = v;
  __syncthreads();
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kThreads / 32; ++i) sum += sums[i];
  return sum;
}

template <int V>
__device__ void finish(const NormArgs& a, int row, int column, float mean, float scale,
                       float (&x)[V]) {
  float w[V];
#pragma unroll
  for (int j = 0; j < V; ++j) x[j] = (x[j] - mean) * scale;
  if (a.weight) {
    device::load_vector<V>(a.weight, column, DType::f32, w);
#pragma unroll
    for (int j = 0; j < V; ++j) x[j] *= a.offset + w[j];
  }
  if (a.bias) {
    device::load_vector<V>(a.bias, column, DType::f32, w);
#pragma unroll
    for (int j = 0; j < V; ++j) x[j] += w[j];
  }
  if (a.scale.data) {
    device::load_vector<V>(a.scale.row(row), column, DType::f32, w);
#pragma unroll
    for (int j = 0; j < V; ++j) x[j] *= 1.0f + w[j];
  }
  if (a.shift.data) {
    device::load_vector<V>(a.shift.row(row), column, DType::f32, w);
#pragma unroll
    for (int j = 0; j < V; ++j) x[j] += w[j];
  }
  if (a.curve != device::Curve::none) {
#pragma unroll
    for (int j = 0; j < V; ++j) x[j] = device::fast_curve(a.curve, x[j]);
  }
  device::store_vector<V>(a.out.data, a.out.offset(row) + column, a.out.dtype, x);
}

// ROW threads a row; a thread holds up to kHeld vectors and reads longer rows again.
template <int V, int ROW>
__global__ void norm_kernel(NormArgs a) {
  device::let_successors_start();
  device::wait_for_predecessors();
  const int row = blockIdx.x * (kThreads / ROW) + threadIdx.x / ROW;
  if (ROW == 32 && row >= a.x.count) return;
  const int lane = threadIdx.x % ROW, vectors = a.x.width / V;
  const int64_t at = a.x.offset(row);
  float held[kHeld][V], sum = 0, squares = 0, x[V];
#pragma unroll
  for (int i = 0; i < kHeld; ++i) {
    const int v = lane + i * ROW;
#pragma unroll
    for (int j = 0; j < V; ++j) held[i][j] = 0;
    if (v < vectors) device::load_vector<V>(a.x.data, at + v * V, a.x.dtype, held[i]);
#pragma unroll
    for (int j = 0; j < V; ++j) sum += held[i][j], squares += held[i][j] * held[i][j];
  }
  for (int v = lane + kHeld * ROW; v < vectors; v += ROW) {
    device::load_vector<V>(a.x.data, at + v * V, a.x.dtype, x);
#pragma unroll
    for (int j = 0; j < V; ++j) sum += x[j], squares += x[j] * x[j];
  }
  const float inverse = 1.0f / static_cast<float>(a.x.width);
  float mean = 0;
  if (a.centered) {
    mean = row_sum<ROW>(sum) * inverse;
    squares = 0;
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      if (lane + i * ROW >= vectors) continue;
#pragma unroll
      for (int j = 0; j < V; ++j) squares += (held[i][j] - mean) * (held[i][j] - mean);
    }
    for (int v = lane + kHeld * ROW; v < vectors; v += ROW) {
      device::load_vector<V>(a.x.data, at + v * V, a.x.dtype, x);
#pragma unroll
      for (int j = 0; j < V; ++j) squares += (x[j] - mean) * (x[j] - mean);
    }
  }
  const float scale = rsqrtf(row_sum<ROW>(squares) * inverse + a.eps);
#pragma unroll
  for (int i = 0; i < kHeld; ++i) {
    const int v = lane + i * ROW;
    if (v < vectors) finish<V>(a, row, v * V, mean, scale, held[i]);
  }
  for (int v = lane + kHeld * ROW; v < vectors; v += ROW) {
    device::load_vector<V>(a.x.data, at + v * V, a.x.dtype, x);
    finish<V>(a, row, v * V, mean, scale, x);
  }
}

template <int V, int ROW>
void run(const NormArgs& a, cudaStream_t stream) {
  launch(norm_kernel<V, ROW>, {dim3(blocks(a.x.count, kThreads / ROW)), kThreads}, stream, a);
}

}  // namespace

void plan_norm(Planner& planner, const NormArgs& a) {
  int vector = std::min(vector_width({a.x, a.out}), vector_width(a.scale, a.x.width));
  vector = std::min(vector, vector_width(a.shift, a.x.width));
  const bool narrow = a.x.width <= 32 * kHeld * vector;
  planner.launch([a, vector, narrow](cudaStream_t stream) {
    if (vector == 8) {
      narrow ? run<8, 32>(a, stream) : run<8, kThreads>(a, stream);
    } else {
      narrow ? run<1, 32>(a, stream) : run<1, kThreads>(a, stream);
    }
  });
}

}  // namespace tendon::cuda
