// One item of an op without structure, for its own kernel and for a phase of a persistent one.
#pragma once

#include "backends/cuda/device/numeric.cuh"
#include "backends/cuda/elements.h"

namespace tendon::cuda {

template <int V>
__device__ inline void rows_item(const RowsArgs& p, int64_t item) {
  const int per_row = p.out.width / V;
  const int row = static_cast<int>(item / per_row), column = static_cast<int>(item % per_row) * V;
  float x[V], y[V];
  if (p.kind == RowsArgs::Kind::select) {
    const bool first = p.mask[row] != 0;
    const void* data = first ? p.a.data : p.b.data;
    const int64_t at = (first ? p.a.offset(row) : p.b.offset(row)) + column;
    device::load_vector<V>(data, at, first ? p.a.dtype : p.b.dtype, x);
  } else {
    device::load_vector<V>(p.a.data, p.a.offset(row) + column, p.a.dtype, x);
    if (p.b.data) device::load_vector<V>(p.b.data, p.b.offset(row) + column, p.b.dtype, y);
  }
  const float s = p.kind == RowsArgs::Kind::axpy
                      ? p.factor * (p.scale.data ? p.scale.row(row)[0] : 1.0f)
                      : 0.0f;
#pragma unroll
  for (int j = 0; j < V; ++j) {
    if (p.kind == RowsArgs::Kind::activation) x[j] = device::curve(p.curve, x[j]);
    if (p.kind == RowsArgs::Kind::gated) x[j] = device::curve(p.curve, x[j]) * y[j];
    if (p.kind == RowsArgs::Kind::axpy) x[j] += s * y[j];
  }
  device::store_vector<V>(p.out.data, p.out.offset(row) + column, p.out.dtype, x);
}

// V consecutive elements of the last dimension.
template <int V>
__device__ inline void strided_item(const StridedArgs& p, int64_t item) {
  int64_t rest = item, a = 0, b = 0, out = 0;
#pragma unroll
  for (int d = 5; d >= 0; --d) {
    if (d >= p.extents.rank) continue;
    const bool last = d == p.extents.rank - 1;
    const int64_t extent = last ? p.extents.extent[d] / V : p.extents.extent[d];
    const int64_t index = rest % extent * (last ? V : 1);
    rest /= extent;
    a += index * p.a.stride[d], b += index * p.b.stride[d], out += index * p.out.stride[d];
  }
  if (p.kind == StridedArgs::Kind::raw) {
    static_cast<int32_t*>(p.out.data)[out] = static_cast<const int32_t*>(p.a.data)[a];
    return;
  }
  float x[V], y[V];
  device::load_vector<V>(p.a.data, a, p.a.dtype, x);
  if (p.kind != StridedArgs::Kind::copy) device::load_vector<V>(p.b.data, b, p.b.dtype, y);
#pragma unroll
  for (int j = 0; j < V; ++j) {
    if (p.kind == StridedArgs::Kind::add) x[j] += y[j];
    if (p.kind == StridedArgs::Kind::mul) x[j] *= y[j];
  }
  device::store_vector<V>(p.out.data, out, p.out.dtype, x);
}

template <int V>
__device__ inline void gather_item(const GatherArgs& p, int64_t item) {
  const int per_row = p.out.width / V;
  const int row = static_cast<int>(item / per_row), column = static_cast<int>(item % per_row) * V;
  const int from = p.index[row];
  const int64_t to = p.out.offset(row) + column;
  if (p.raw) {
    static_cast<int32_t*>(p.out.data)[to] =
        from < 0 ? 0 : static_cast<const int32_t*>(p.x.data)[p.x.offset(from) + column];
    return;
  }
  float v[V];
#pragma unroll
  for (int j = 0; j < V; ++j) v[j] = 0;
  if (from >= 0) device::load_vector<V>(p.x.data, p.x.offset(from) + column, p.x.dtype, v);
#pragma unroll
  for (int j = 0; j < V; ++j) v[j] *= p.scale;
  device::store_vector<V>(p.out.data, to, p.out.dtype, v);
}

}  // namespace tendon::cuda
