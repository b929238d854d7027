// Ops on pixel grids: space_to_depth, average_pool, and the unfolding that conv2d multiplies.
#include "backends/cuda/device/numeric.cuh"
#include "backends/cuda/device/tensor_copy.cuh"
#include "backends/cuda/launch.h"
#include "backends/cuda/pixels.h"
#include "backends/cuda/planner.h"

namespace tendon::cuda {
namespace {

constexpr int kThreads = 256;

struct BlockArgs {
  device::Strided x, out;                                                 // [B, Y, X, C]
  int height = 0, width = 0, channels = 0, block = 1, channel_major = 0;  // of out's grid, of x
};

__global__ void space_to_depth_kernel(BlockArgs p, int64_t items) {
  device::let_successors_start();
  device::wait_for_predecessors();
  const int64_t item = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (item >= items) return;
  const int depth = p.channels * p.block * p.block;
  const int d = static_cast<int>(item % depth);
  int64_t rest = item / depth;
  const int x = static_cast<int>(rest % p.width);
  rest /= p.width;
  const int y = static_cast<int>(rest % p.height), b = static_cast<int>(rest / p.height);
  int row, column, channel;
  if (p.channel_major) {
    row = d % p.block, column = d / p.block % p.block, channel = d / (p.block * p.block);
  } else {
    channel = d % p.channels, column = d / p.channels % p.block, row = d / p.channels / p.block;
  }
  const int64_t from = b * p.x.stride[0] + (y * p.block + row) * p.x.stride[1] +
                       (x * p.block + column) * p.x.stride[2] + channel * p.x.stride[3];
  const int64_t to =
      b * p.out.stride[0] + y * p.out.stride[1] + x * p.out.stride[2] + d * p.out.stride[3];
  device::store(p.out.data, to, p.out.dtype, device::load(p.x.data, from, p.x.dtype));
}

struct PoolArgs {
  device::Strided x, residual, out;
  int height = 0, width = 0, channels_in = 0, channels = 0, step = 1, offset = 0;  // of out
};

__global__ void average_pool_kernel(PoolArgs p, int64_t items) {
  device::let_successors_start();
  device::wait_for_predecessors();
  const int64_t item = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (item >= items) return;
  const int c = static_cast<int>(item % p.channels);
  int64_t rest = item / p.channels;
  const int x = static_cast<int>(rest % p.width);
  rest /= p.width;
  const int y = static_cast<int>(rest % p.height), b = static_cast<int>(rest / p.height);
  const int from = (c - p.offset) / p.step;
  float v = 0;
  if (c >= p.offset && (c - p.offset) % p.step == 0 && from < p.channels_in) {
    const int64_t at =
        b * p.x.stride[0] + 2 * y * p.x.stride[1] + 2 * x * p.x.stride[2] + from * p.x.stride[3];
    v = 0.25f * (device::load(p.x.data, at, p.x.dtype) +
                 device::load(p.x.data, at + p.x.stride[2], p.x.dtype) +
                 device::load(p.x.data, at + p.x.stride[1], p.x.dtype) +
                 device::load(p.x.data, at + p.x.stride[1] + p.x.stride[2], p.x.dtype));
  }
  auto offset = [&](const device::Strided& s) {
    return b * s.stride[0] + y * s.stride[1] + x * s.stride[2] + c * s.stride[3];
  };
  if (p.residual.data) v += device::load(p.residual.data, offset(p.residual), p.residual.dtype);
  device::store(p.out.data, offset(p.out), p.out.dtype, v);
}

// One thread moves V channels of one tap of one output pixel.
template <int V>
__global__ void unfold_kernel(UnfoldArgs p, void* out, int64_t items) {
  device::let_successors_start();
  device::wait_for_predecessors();
  const int64_t item = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (item >= items) return;
  const int per_tap = p.channels / V;
  const int c = static_cast<int>(item % per_tap) * V;
  int64_t rest = item / per_tap;
  const int tap = static_cast<int>(rest % (p.kernel_y * p.kernel_x));
  const int64_t pixel = rest / (p.kernel_y * p.kernel_x);
  const int x = static_cast<int>(pixel % p.out_width);
  rest = pixel / p.out_width;
  const int y = static_cast<int>(rest % p.out_height), b = static_cast<int>(rest / p.out_height);
  const int iy = y * p.stride + tap / p.kernel_x - p.top;
  const int ix = x * p.stride + tap % p.kernel_x - p.left;
  float v[V];
#pragma unroll
  for (int j = 0; j < V; ++j) v[j] = 0;
  if (iy >= 0 && iy < p.height && ix >= 0 && ix < p.width) {
    const int64_t at = b * p.x.stride[0] + iy * p.x.stride[1] + ix * p.x.stride[2] + c;
    device::load_vector<V>(p.x.data, at, p.x.dtype, v);
  }
  const int64_t to = pixel * p.row + tap * p.channels + c;
  device::store_vector<V>(out, to, p.dtype, v);
}

}  // namespace

void launch_unfold(const UnfoldArgs& p, void* out, int vector, cudaStream_t stream) {
  const int64_t items = p.pixels * p.kernel_y * p.kernel_x * (p.channels / vector);
  if (vector == 8) {
    launch(unfold_kernel<8>, {dim3(blocks(items, kThreads)), kThreads}, stream, p, out, items);
  } else {
    launch(unfold_kernel<1>, {dim3(blocks(items, kThreads)), kThreads}, stream, p, out, items);
  }
}

void plan(Planner& planner, const ops::SpaceToDepth& op) {
  const Shape &x = planner.trace().shape(op.x), &y = planner.trace().shape(op.out);
  BlockArgs p{planner.strided(op.x), planner.strided(op.out)};
  p.height = static_cast<int>(y[1]), p.width = static_cast<int>(y[2]);
  p.channels = static_cast<int>(x[3]), p.block = static_cast<int>(op.block);
  p.channel_major = op.channel_major;
  const std::int64_t items = y.numel();
  planner.launch([p, items](cudaStream_t stream) {
    launch(space_to_depth_kernel, {dim3(blocks(items, kThreads)), kThreads}, stream, p, items);
  });
}

void plan(Planner& planner, const ops::AveragePool& op) {
  const Shape &x = planner.trace().shape(op.x), &y = planner.trace().shape(op.out);
  PoolArgs p{planner.strided(op.x), planner.strided(op.residual), planner.strided(op.out)};
  p.height = static_cast<int>(y[1]), p.width = static_cast<int>(y[2]);
  p.channels_in = static_cast<int>(x[3]), p.channels = static_cast<int>(y[3]);
  p.step = static_cast<int>(op.channel_step), p.offset = static_cast<int>(op.channel_offset);
  const std::int64_t items = y.numel();
  planner.launch([p, items](cudaStream_t stream) {
    launch(average_pool_kernel, {dim3(blocks(items, kThreads)), kThreads}, stream, p, items);
  });
}

}  // namespace tendon::cuda
