#include "backends/cuda/device/rotate.cuh"
#include "backends/cuda/device/tensor_copy.cuh"
#include "backends/cuda/launch.h"
#include "backends/cuda/planner.h"

namespace tendon::cuda {
namespace {

constexpr int kThreads = 256;

struct Args {
  device::RowsView x, out;  // rows are heads of tokens
  device::Rotation rotation;
  int heads = 1;
};

template <int V>
__global__ void rope_kernel(Args a) {
  device::let_successors_start();
  device::wait_for_predecessors();
  const int half = a.x.width / 2, per_row = half / V;
  const int64_t item = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (item >= int64_t{a.x.count} * per_row) return;
  const int row = static_cast<int>(item / per_row), i = static_cast<int>(item % per_row) * V;
  float first[V], second[V];
  device::load_pairs<V>(a.x.data, a.x.offset(row), a.x.dtype, half, i, a.rotation.interleaved,
                        first, second);
  device::rotate<V>(a.rotation, row / a.heads, half, i, first, second);
  device::store_pairs<V>(a.out.data, a.out.offset(row), a.out.dtype, half, i,
                         a.rotation.interleaved, first, second);
}

}  // namespace

void plan(Planner& planner, const ops::Rope& op) {
  const Trace& t = planner.trace();
  Args a{planner.rows(op.x), planner.rows(op.out)};
  a.rotation = {planner.data<const float>(op.cos), planner.data<const float>(op.sin),
                planner.data<const std::int32_t>(op.positions),
                static_cast<int>(t.shape(op.positions).numel()),
                op.style == ops::RopeStyle::interleaved};
  a.heads = static_cast<int>(t.shape(op.x)[2]);
  const bool wide = vector_width({a.x, a.out}) == 8 && a.x.width % 16 == 0;
  const std::int64_t items = std::int64_t{a.x.count} * (a.x.width / 2);
  planner.launch([a, wide, items](cudaStream_t stream) {
    if (wide) {
      launch(rope_kernel<8>, {dim3(blocks(items / 8, kThreads)), kThreads}, stream, a);
    } else {
      launch(rope_kernel<1>, {dim3(blocks(items, kThreads)), kThreads}, stream, a);
    }
  });
}

}  // namespace tendon::cuda
