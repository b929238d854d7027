// Kernels of the ops without structure: activation, gated_act, add, mul, axpy, select, copy.
#include "backends/cuda/device/tensor_copy.cuh"
#include "backends/cuda/elements.cuh"
#include "backends/cuda/launch.h"

namespace tendon::cuda {
namespace {

constexpr int kThreads = 256;

template <int V>
__global__ void rows_kernel(RowsArgs p, int64_t items) {
  device::let_successors_start();
  device::wait_for_predecessors();
  const int64_t item = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (item < items) rows_item<V>(p, item);
}

void plan_rows(Planner& planner, const RowsArgs& p) {
  const int vector = vector_width({p.a, p.b, p.out});
  const std::int64_t items = std::int64_t{p.out.count} * p.out.width / vector;
  planner.launch([p, vector, items](cudaStream_t stream) {
    if (vector == 8) {
      launch(rows_kernel<8>, {dim3(blocks(items, kThreads)), kThreads}, stream, p, items);
    } else {
      launch(rows_kernel<1>, {dim3(blocks(items, kThreads)), kThreads}, stream, p, items);
    }
  });
}

template <int V>
__global__ void strided_kernel(StridedArgs p, int64_t items) {
  device::let_successors_start();
  device::wait_for_predecessors();
  const int64_t item = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (item < items) strided_item<V>(p, item);
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
      launch(strided_kernel<8>, {dim3(blocks(items / 8, kThreads)), kThreads}, stream, p,
             items / 8);
    } else {
      launch(strided_kernel<1>, {dim3(blocks(items, kThreads)), kThreads}, stream, p, items);
    }
  });
}

}  // namespace

void plan(Planner& planner, const ops::Activation& op) {
  plan_rows(planner, rows_args(planner, op));
}
void plan(Planner& planner, const ops::GatedAct& op) { plan_rows(planner, rows_args(planner, op)); }
void plan(Planner& planner, const ops::Axpy& op) { plan_rows(planner, rows_args(planner, op)); }
void plan(Planner& planner, const ops::Select& op) { plan_rows(planner, rows_args(planner, op)); }
void plan(Planner& planner, const ops::Copy& op) {
  plan_strided(planner, strided_args(planner, op));
}
void plan(Planner& planner, const ops::Add& op) {
  plan_strided(planner, strided_args(planner, op));
}
void plan(Planner& planner, const ops::Mul& op) {
  plan_strided(planner, strided_args(planner, op));
}

}  // namespace tendon::cuda
