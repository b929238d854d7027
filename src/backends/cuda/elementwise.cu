// Ops without structure between elements: activation, gated_act, add, mul, axpy, select, copy.
#include <algorithm>

#include "backends/cuda/device/numeric.cuh"
#include "backends/cuda/planner.h"

namespace tendon::cuda {
namespace {

using device::RowsView;
constexpr int kThreads = 256;

struct RowsArgs {
  enum class Kind : std::uint8_t { activation, gated, axpy, select } kind = Kind::activation;
  RowsView a, b, out;
  device::Curve curve = device::Curve::none;
  device::TableView scale;
  float factor = 1.0f;
  const int32_t* mask = nullptr;
};

template <int V>
__global__ void rows_kernel(RowsArgs p) {
  const int per_row = p.out.width / V;
  const int64_t item = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (item >= int64_t{p.out.count} * per_row) return;
  const int row = static_cast<int>(item / per_row), column = static_cast<int>(item % per_row) * V;
  float x[V], y[V];
  if (p.kind == RowsArgs::Kind::select) {
    const RowsView& from = p.mask[row] ? p.a : p.b;
    device::load_vector<V>(from.data, from.offset(row) + column, from.dtype, x);
  } else {
    device::load_vector<V>(p.a.data, p.a.offset(row) + column, p.a.dtype, x);
  }
  if (p.b.data && p.kind != RowsArgs::Kind::select) {
    device::load_vector<V>(p.b.data, p.b.offset(row) + column, p.b.dtype, y);
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

void plan_rows(Planner& planner, const RowsArgs& p) {
  const int vector = vector_width({p.a, p.b, p.out});
  const std::int64_t items = std::int64_t{p.out.count} * p.out.width / vector;
  planner.launch([p, vector, items](cudaStream_t stream) {
    if (vector == 8) {
      rows_kernel<8><<<blocks(items, kThreads), kThreads, 0, stream>>>(p);
    } else {
      rows_kernel<1><<<blocks(items, kThreads), kThreads, 0, stream>>>(p);
    }
  });
}

struct StridedArgs {
  enum class Kind : std::uint8_t { copy, raw, add, mul } kind = Kind::copy;
  device::Strided a, b, out;
  device::Extents extents;  // of out
};

// V consecutive elements of the last dimension a thread; raw: 4-byte integers, bit for bit.
template <int V>
__global__ void strided_kernel(StridedArgs p, int64_t items) {
  const int64_t item = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (item >= items) return;
  int64_t rest = item, a = 0, b = 0, out = 0;
#pragma unroll
  for (int d = 5; d >= 0; --d) {
    if (d >= p.extents.rank) continue;
    const int64_t extent = d == p.extents.rank - 1 ? p.extents.extent[d] / V : p.extents.extent[d];
    const int64_t index = rest % extent * (d == p.extents.rank - 1 ? V : 1);
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

bool wide(const device::Strided& s, const device::Extents& e) {
  if (!s.data) return true;
  if (s.dtype == DType::i32 || s.dtype == DType::u8 || s.stride[e.rank - 1] != 1) return false;
  const std::int64_t unit = 16 / static_cast<std::int64_t>(size_of(s.dtype));
  bool fits = reinterpret_cast<std::uintptr_t>(s.data) % 16 == 0;
  for (int d = 0; d + 1 < e.rank; ++d) fits &= s.stride[d] % unit == 0;
  return fits;
}

void plan_strided(Planner& planner, const StridedArgs& p) {
  std::int64_t items = 1;
  for (int d = 0; d < p.extents.rank; ++d) items *= p.extents.extent[d];
  const bool vectors = p.kind != StridedArgs::Kind::raw && p.extents.rank > 0 &&
                       p.extents.extent[p.extents.rank - 1] % 8 == 0 && wide(p.a, p.extents) &&
                       wide(p.b, p.extents) && wide(p.out, p.extents);
  planner.launch([p, vectors, items](cudaStream_t stream) {
    if (vectors) {
      strided_kernel<8><<<blocks(items / 8, kThreads), kThreads, 0, stream>>>(p, items / 8);
    } else {
      strided_kernel<1><<<blocks(items, kThreads), kThreads, 0, stream>>>(p, items);
    }
  });
}

// Strides of b against the shape of out: 0 where b is broadcast.
device::Strided broadcast(const Planner& planner, Value b, Value out) {
  device::Strided s = planner.strided(b);
  const Shape &from = planner.trace().shape(b), &to = planner.trace().shape(out);
  for (int d = 0; d < to.rank(); ++d) {
    if (from[d] != to[d]) s.stride[d] = 0;
  }
  return s;
}

template <class T>
void plan_pair(Planner& planner, const T& op, StridedArgs::Kind kind) {
  StridedArgs p;
  p.kind = kind;
  p.a = planner.strided(op.a), p.b = broadcast(planner, op.b, op.out);
  p.out = planner.strided(op.out), p.extents = planner.extents(op.out);
  plan_strided(planner, p);
}

}  // namespace

void plan(Planner& planner, const ops::Activation& op) {
  RowsArgs p;
  p.a = planner.rows(op.x), p.out = planner.rows(op.out), p.curve = curve_of(op.act);
  plan_rows(planner, p);
}

void plan(Planner& planner, const ops::GatedAct& op) {
  RowsArgs p;
  p.kind = RowsArgs::Kind::gated;
  p.a = planner.rows(op.gate), p.b = planner.rows(op.up), p.out = planner.rows(op.out);
  p.curve = curve_of(op.act);
  plan_rows(planner, p);
}

void plan(Planner& planner, const ops::Axpy& op) {
  RowsArgs p;
  p.kind = RowsArgs::Kind::axpy;
  p.a = planner.rows(op.x), p.b = planner.rows(op.v), p.out = planner.rows(op.out);
  p.scale = planner.table(op.scale, p.out.count);
  p.factor = op.factor;
  plan_rows(planner, p);
}

void plan(Planner& planner, const ops::Select& op) {
  RowsArgs p;
  p.kind = RowsArgs::Kind::select;
  p.a = planner.rows(op.a), p.b = planner.rows(op.b), p.out = planner.rows(op.out);
  p.mask = planner.data<const std::int32_t>(op.mask);
  plan_rows(planner, p);
}

void plan(Planner& planner, const ops::Copy& op) {
  StridedArgs p;
  p.a = planner.strided(op.x), p.out = planner.strided(op.out);
  p.extents = planner.extents(op.out);
  if (p.a.dtype == DType::i32 && p.out.dtype == DType::i32) p.kind = StridedArgs::Kind::raw;
  plan_strided(planner, p);
}

void plan(Planner& planner, const ops::Add& op) { plan_pair(planner, op, StridedArgs::Kind::add); }
void plan(Planner& planner, const ops::Mul& op) { plan_pair(planner, op, StridedArgs::Kind::mul); }

}  // namespace tendon::cuda
