// Rows picked by index: gather_rows from a value, embed from a table of weights.
#include "backends/cuda/device/numeric.cuh"
#include "backends/cuda/planner.h"

namespace tendon::cuda {
namespace {

constexpr int kThreads = 256;

struct Args {
  device::RowsView x, out;
  const int32_t* index = nullptr;
  float scale = 1.0f;
  int raw = 0;  // 4-byte integers, bit for bit
};

template <int V>
__global__ void gather_kernel(Args p) {
  const int per_row = p.out.width / V;
  const int64_t item = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (item >= int64_t{p.out.count} * per_row) return;
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

void plan_gather(Planner& planner, const Args& p) {
  const int vector = vector_width({p.x, p.out});
  const std::int64_t items = std::int64_t{p.out.count} * p.out.width / vector;
  planner.launch([p, vector, items](cudaStream_t stream) {
    if (vector == 8) {
      gather_kernel<8><<<blocks(items, kThreads), kThreads, 0, stream>>>(p);
    } else {
      gather_kernel<1><<<blocks(items, kThreads), kThreads, 0, stream>>>(p);
    }
  });
}

}  // namespace

void plan(Planner& planner, const ops::GatherRows& op) {
  Args p;
  p.x = planner.rows(op.x), p.out = planner.rows(op.out);
  p.index = planner.data<const std::int32_t>(op.index);
  p.raw = p.x.dtype == DType::i32 && p.out.dtype == DType::i32;
  plan_gather(planner, p);
}

void plan(Planner& planner, const ops::Embed& op) {
  const Weight& weight = planner.trace().program().weight(op.table);
  const DType dtype = weight.format == Format::bf16 ? DType::bf16 : DType::f32;
  Args p;
  p.out = planner.rows(op.out);
  p.x.data = const_cast<void*>(planner.weights().matrix(op.table, dtype));
  p.x.dtype = dtype;
  p.x.count = p.x.rows = static_cast<int>(weight.shape[0]);
  p.x.width = static_cast<int>(weight.shape[1]);
  p.x.row_stride = weight.shape[1];
  p.index = planner.data<const std::int32_t>(op.ids);
  p.scale = op.scale;
  plan_gather(planner, p);
}

}  // namespace tendon::cuda
