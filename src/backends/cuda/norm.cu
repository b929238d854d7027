#include "backends/cuda/device/tensor_copy.cuh"
#include "backends/cuda/launch.h"
#include "backends/cuda/norm.h"

#include <algorithm>

#include "backends/cuda/device/fast_curve.cuh"
#include "backends/cuda/device/numeric.cuh"

namespace tendon::cuda {
namespace {

constexpr int kThreads = 256, kMostHeld = 4;  // vectors of a row that a thread keeps

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

// What a column is multiplied by and what is added to it, of a row.
template <int V>
struct Columns {
  float factor[V], term[V];

  __device__ void load(const NormArgs& a, int row, int column) {
    float w[V];
#pragma unroll
    for (int j = 0; j < V; ++j) factor[j] = 1, term[j] = 0;
    if (a.weight) {
      device::load_vector<V>(a.weight, column, DType::f32, factor);
#pragma unroll
      for (int j = 0; j < V; ++j) factor[j] += a.offset;
    }
    if (a.bias) device::load_vector<V>(a.bias, column, DType::f32, term);
    if (a.scale.data) {
      device::load_vector<V>(a.scale.row(row), column, DType::f32, w);
#pragma unroll
      for (int j = 0; j < V; ++j) factor[j] *= 1.0f + w[j], term[j] *= 1.0f + w[j];
    }
    if (a.shift.data) {
      device::load_vector<V>(a.shift.row(row), column, DType::f32, w);
#pragma unroll
      for (int j = 0; j < V; ++j) term[j] += w[j];
    }
  }
};

template <int V>
__device__ void finish(const NormArgs& a, int row, int column, float mean, float scale,
                       const Columns<V>& k, float (&x)[V]) {
#pragma unroll
  for (int j = 0; j < V; ++j) x[j] = (x[j] - mean) * scale * k.factor[j] + k.term[j];
  if (a.curve != device::Curve::none) {
#pragma unroll
    for (int j = 0; j < V; ++j) x[j] = device::fast_curve(a.curve, x[j]);
  }
  device::store_vector<V>(a.out.data, a.out.offset(row) + column, a.out.dtype, x);
}

// ROW threads a row; a thread holds up to HELD vectors and reads longer rows again.
template <int V, int ROW, int HELD>
__global__ void norm_kernel(NormArgs a) {
  device::let_successors_start();
  device::wait_for_predecessors();
  const int row = blockIdx.x * (kThreads / ROW) + threadIdx.x / ROW;
  if (ROW == 32 && row >= a.x.count) return;
  const int lane = threadIdx.x % ROW, vectors = a.x.width / V;
  const int64_t at = a.x.offset(row);
  float held[HELD][V], sum = 0, squares = 0, x[V];
  Columns<V> columns[HELD];  // on their way while the row is summed up
#pragma unroll
  for (int i = 0; i < HELD; ++i) {
    const int v = lane + i * ROW;
#pragma unroll
    for (int j = 0; j < V; ++j) held[i][j] = 0;
    if (v >= vectors) continue;
    device::load_vector<V>(a.x.data, at + v * V, a.x.dtype, held[i]);
    columns[i].load(a, row, v * V);
  }
#pragma unroll
  for (int i = 0; i < HELD; ++i) {
#pragma unroll
    for (int j = 0; j < V; ++j) sum += held[i][j], squares += held[i][j] * held[i][j];
  }
  for (int v = lane + HELD * ROW; v < vectors; v += ROW) {
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
    for (int i = 0; i < HELD; ++i) {
      if (lane + i * ROW >= vectors) continue;
#pragma unroll
      for (int j = 0; j < V; ++j) squares += (held[i][j] - mean) * (held[i][j] - mean);
    }
    for (int v = lane + HELD * ROW; v < vectors; v += ROW) {
      device::load_vector<V>(a.x.data, at + v * V, a.x.dtype, x);
#pragma unroll
      for (int j = 0; j < V; ++j) squares += (x[j] - mean) * (x[j] - mean);
    }
  }
  const float scale = rsqrtf(row_sum<ROW>(squares) * inverse + a.eps);
#pragma unroll
  for (int i = 0; i < HELD; ++i) {
    const int v = lane + i * ROW;
    if (v < vectors) finish<V>(a, row, v * V, mean, scale, columns[i], held[i]);
  }
  for (int v = lane + HELD * ROW; v < vectors; v += ROW) {
    device::load_vector<V>(a.x.data, at + v * V, a.x.dtype, x);
    columns[0].load(a, row, v * V);
    finish<V>(a, row, v * V, mean, scale, columns[0], x);
  }
}

template <int V, int ROW, int HELD>
void run(const NormArgs& a, cudaStream_t stream) {
  launch(norm_kernel<V, ROW, HELD>, {dim3(blocks(a.x.count, kThreads / ROW)), kThreads}, stream, a);
}

template <int V, int ROW>
void run_held(const NormArgs& a, cudaStream_t stream) {
  const unsigned each = blocks(a.x.width / V, ROW);
  if (each <= 1) {
    run<V, ROW, 1>(a, stream);
  } else if (each == 2) {
    run<V, ROW, 2>(a, stream);
  } else {
    run<V, ROW, kMostHeld>(a, stream);
  }
}

}  // namespace

void plan_norm(Planner& planner, const NormArgs& a) {
  int vector = std::min(vector_width({a.x, a.out}), vector_width(a.scale, a.x.width));
  vector = std::min(vector, vector_width(a.shift, a.x.width));
  const bool narrow = a.x.width <= 32 * kMostHeld * vector;
  planner.launch([a, vector, narrow](cudaStream_t stream) {
    if (vector == 8) {
      narrow ? run_held<8, 32>(a, stream) : run_held<8, kThreads>(a, stream);
    } else {
      narrow ? run_held<1, 32>(a, stream) : run_held<1, kThreads>(a, stream);
    }
  });
}

}  // namespace tendon::cuda
