#include "backends/cuda/device/fast_curve.cuh"
#include "backends/cuda/device/numeric.cuh"
#include "backends/cuda/device/tensor_copy.cuh"
#include "backends/cuda/launch.h"
#include "backends/cuda/product.h"

namespace tendon::cuda {
namespace {

constexpr int kThreads = 256;

template <int V>
__global__ void epilogue_kernel(const float* acc, EpilogueArgs a) {
  device::let_successors_start();
  device::wait_for_predecessors();
  const int per_row = a.out.width / V;
  const int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (i >= int64_t{a.out.count} * per_row) return;
  const int row = static_cast<int>(i / per_row), column = static_cast<int>(i % per_row) * V;
  float v[V], other[V];
  device::load_vector<V>(acc, int64_t{row} * a.out.width + column, DType::f32, v);
  if (a.bias) {
    device::load_vector<V>(a.bias, column, DType::f32, other);
#pragma unroll
    for (int j = 0; j < V; ++j) v[j] += other[j];
  }
#pragma unroll
  for (int j = 0; j < V; ++j) v[j] = device::fast_curve(a.curve, v[j]);
  if (a.gate.data) {
    device::load_vector<V>(a.gate.row(row), column, DType::f32, other);
#pragma unroll
    for (int j = 0; j < V; ++j) v[j] *= other[j];
  }
  if (a.residual.data) {
    device::load_vector<V>(a.residual.data, a.residual.offset(row) + column, a.residual.dtype,
                           other);
#pragma unroll
    for (int j = 0; j < V; ++j) v[j] += other[j];
  }
  device::store_vector<V>(a.out.data, a.out.offset(row) + column, a.out.dtype, v);
}

__global__ void convert_kernel(device::RowsView x, void* out, DType dtype) {
  device::let_successors_start();
  device::wait_for_predecessors();
  const int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (i >= int64_t{x.count} * x.width) return;
  const int row = static_cast<int>(i / x.width), column = static_cast<int>(i % x.width);
  device::store(out, i, dtype, device::load(x.data, x.offset(row) + column, x.dtype));
}

template <int V>
__global__ void gated_kernel(GatedArgs a) {
  device::let_successors_start();
  device::wait_for_predecessors();
  const int per_row = a.out.width / V;
  const int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (i >= int64_t{a.out.count} * per_row) return;
  const int row = static_cast<int>(i / per_row), column = static_cast<int>(i % per_row) * V;
  const int64_t from = 2 * int64_t{row} * a.out.width + column;
  float gate[V], up[V], bias[V];
  device::load_vector<V>(a.pairs, from, a.dtype, gate);
  device::load_vector<V>(a.pairs, from + a.out.width, a.dtype, up);
  if (a.gate_bias) {
    device::load_vector<V>(a.gate_bias, column, DType::f32, bias);
#pragma unroll
    for (int j = 0; j < V; ++j) gate[j] += bias[j];
  }
  if (a.up_bias) {
    device::load_vector<V>(a.up_bias, column, DType::f32, bias);
#pragma unroll
    for (int j = 0; j < V; ++j) up[j] += bias[j];
  }
#pragma unroll
  for (int j = 0; j < V; ++j) gate[j] = device::fast_curve(a.curve, gate[j]) * up[j];
  device::store_vector<V>(a.out.data, a.out.offset(row) + column, a.out.dtype, gate);
}

}  // namespace

void launch_epilogue(const float* acc, const EpilogueArgs& a, int vector, cudaStream_t stream) {
  const int64_t items = int64_t{a.out.count} * a.out.width / vector;
  if (vector == 8) {
    launch(epilogue_kernel<8>, {dim3(blocks(items, kThreads)), kThreads}, stream, acc, a);
  } else {
    launch(epilogue_kernel<1>, {dim3(blocks(items, kThreads)), kThreads}, stream, acc, a);
  }
}

void launch_convert(const device::RowsView& x, void* out, DType dtype, cudaStream_t stream) {
  launch(convert_kernel, {dim3(blocks(int64_t{x.count} * x.width, kThreads)), kThreads}, stream, x,
         out, dtype);
}

void launch_gated(const GatedArgs& a, int vector, cudaStream_t stream) {
  const int64_t items = int64_t{a.out.count} * a.out.width / vector;
  if (vector == 8) {
    launch(gated_kernel<8>, {dim3(blocks(items, kThreads)), kThreads}, stream, a);
  } else {
    launch(gated_kernel<1>, {dim3(blocks(items, kThreads)), kThreads}, stream, a);
  }
}

}  // namespace tendon::cuda
