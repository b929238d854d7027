// Rows picked by index: gather_rows from a value, embed from a table of weights.
#include "backends/cuda/device/tensor_copy.cuh"
#include "backends/cuda/elements.cuh"
#include "backends/cuda/launch.h"

namespace tendon::cuda {
namespace {

constexpr int kThreads = 256;

template <int V>
__global__ void gather_kernel(GatherArgs p, int64_t items) {
  device::let_successors_start();
  device::wait_for_predecessors();
  const int64_t item = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (item < items) gather_item<V>(p, item);
}

void plan_gather(Planner& planner, const GatherArgs& p) {
  const int vector = vector_width({p.x, p.out});
  const std::int64_t items = std::int64_t{p.out.count} * p.out.width / vector;
  planner.launch([p, vector, items](cudaStream_t stream) {
    if (vector == 8) {
      launch(gather_kernel<8>, {dim3(blocks(items, kThreads)), kThreads}, stream, p, items);
    } else {
      launch(gather_kernel<1>, {dim3(blocks(items, kThreads)), kThreads}, stream, p, items);
    }
  });
}

}  // namespace

void plan(Planner& planner, const ops::GatherRows& op) {
  plan_gather(planner, gather_args(planner, op));
}

void plan(Planner& planner, const ops::Embed& op) {
  const Weight& weight = planner.trace().program().weight(op.table);
  const DType dtype = weight.format == Format::bf16 ? DType::bf16 : DType::f32;
  GatherArgs p;
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
