// One warp an output: it asks for its weights before it waits for the rows they meet.
#include "backends/cuda/row_product.h"

#include <algorithm>

#include "backends/cuda/device/fast_curve.cuh"
#include "backends/cuda/device/tensor_copy.cuh"
#include "backends/cuda/launch.h"

namespace tendon::cuda {
namespace {

constexpr int kThreads = 256, kMostRows = 4, kHeld = 8;  // vectors of 8 weights that a lane keeps
constexpr int batch_threads(int rows) { return rows == 1 ? 1024 : 512; }

struct Operands {
  const uint4* x = nullptr;
  const uint4* weight = nullptr;
  int64_t x_stride = 0;  // vectors between rows
  int vectors = 0;       // of a row
};

__host__ __device__ Operands operands(const void* x, const void* weight, int64_t stride, int k) {
  return {static_cast<const uint4*>(x), static_cast<const uint4*>(weight), stride / 8, k / 8};
}

__device__ inline uint4 load_once(const uint4* p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}

__device__ inline void add_product(uint32_t x, uint32_t w, float& sum) {
  sum = fmaf(__uint_as_float(x << 16), __uint_as_float(w << 16), sum);
  sum = fmaf(__uint_as_float(x & 0xffff0000u), __uint_as_float(w & 0xffff0000u), sum);
}

__device__ inline void finish(const EpilogueArgs& e, int row, int column, float v) {
  if (e.bias) v += e.bias[column];
  v = device::fast_curve(e.curve, v);
  if (e.gate.data) v *= e.gate.row(row)[column];
  if (e.residual.data) {
    v += device::load(e.residual.data, e.residual.offset(row) + column, e.residual.dtype);
  }
  device::store(e.out.data, e.out.offset(row) + column, e.out.dtype, v);
}

// The sums of one output over all rows, in every lane of the warp.
template <int M>
__device__ inline void multiply(const Operands& o, int rows, float (&sum)[M]) {
  const int lane = threadIdx.x % 32;
  uint4 held[kHeld];
#pragma unroll
  for (int i = 0; i < kHeld; ++i) {
    const int at = lane + i * 32;
    held[i] = at < o.vectors ? load_once(o.weight + at) : make_uint4(0, 0, 0, 0);
  }
  device::wait_for_predecessors();
#pragma unroll
  for (float& v : sum) v = 0;
  for (int first = lane; first < o.vectors; first += kHeld * 32) {
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      const int at = first + i * 32, next = at + kHeld * 32;
      const uint4 w = held[i];
      held[i] = next < o.vectors ? load_once(o.weight + next) : make_uint4(0, 0, 0, 0);
      if (at >= o.vectors) continue;
#pragma unroll
      for (int m = 0; m < M; ++m) {
        if (m >= rows) continue;
        const uint4 x = o.x[m * o.x_stride + at];
        add_product(x.x, w.x, sum[m]), add_product(x.y, w.y, sum[m]);
        add_product(x.z, w.z, sum[m]), add_product(x.w, w.w, sum[m]);
      }
    }
  }
#pragma unroll
  for (float& v : sum) v = device::warp_sum(v);
}

template <int M>
__global__ void __launch_bounds__(kThreads)
    row_product_kernel(Operands o, EpilogueArgs e, int outputs) {
  device::let_successors_start();
  const int output = (blockIdx.x * kThreads + threadIdx.x) / 32;
  if (output >= outputs) return;
  o.weight += int64_t{output} * o.vectors;
  float sum[M];
  multiply<M>(o, e.out.count, sum);
#pragma unroll
  for (int m = 0; m < M; ++m) {
    if (threadIdx.x % 32 == 0 && m < e.out.count) finish(e, m, output, sum[m]);
  }
}

// Warps take the outputs of all entries in turn.
template <int M>
__global__ void __launch_bounds__(batch_threads(M)) row_batch_kernel(RowBatch b, void* out) {
  device::let_successors_start();
  const int warps = gridDim.x * (batch_threads(M) / 32);
  for (int i = (blockIdx.x * batch_threads(M) + threadIdx.x) / 32; i < b.count * b.n; i += warps) {
    const int which = i / b.n, output = i % b.n;
    const RowEntry entry = b.entries[which];
    Operands o = operands(entry.x, entry.weight, entry.x_stride, b.k);
    o.weight += int64_t{output} * o.vectors;
    float sum[M];
    multiply<M>(o, b.rows, sum);
#pragma unroll
    for (int m = 0; m < M; ++m) {
      if (threadIdx.x % 32 != 0 || m >= b.rows) continue;
      device::store(out, (int64_t{which} * b.rows + m) * b.n + output, b.out, sum[m]);
    }
  }
}

}  // namespace

bool suits_row_product(const TileProduct& p) {
  return p.x.count <= kMostRows && !p.conv.kernel_x && !p.paired && p.x.row_stride % 8 == 0;
}

void launch_row_product(const TileProduct& p, cudaStream_t stream) {
  EpilogueArgs e = p.epilogue;
  if (!e.out.data) e.out.data = p.scratch_out.get();
  const void* x = p.x.data ? p.x.data : p.scratch_x.get();
  const Operands o = operands(x, p.weight, p.x.row_stride, p.k);
  const LaunchShape shape{dim3(blocks(p.n, kThreads / 32)), kThreads};
  if (p.x.count == 1) {
    launch(row_product_kernel<1>, shape, stream, o, e, p.n);
  } else {
    launch(row_product_kernel<kMostRows>, shape, stream, o, e, p.n);
  }
}

bool suits_row_batch(const RowBatch& b, const RowEntry& entry) {
  return b.rows <= kMostRows && b.k % 8 == 0 && entry.x_stride % 8 == 0 &&
         reinterpret_cast<std::uintptr_t>(entry.x) % 16 == 0;
}

void launch_row_batch(const RowBatch& b, void* out, cudaStream_t stream) {
  const int most = b.rows == 1 ? 1 : kMostRows;
  const unsigned threads = static_cast<unsigned>(batch_threads(most));
  unsigned ctas = blocks(std::int64_t{b.count} * b.n, batch_threads(most) / 32);
  if (b.multiprocessors) ctas = std::min(ctas, static_cast<unsigned>(b.multiprocessors));
  if (b.rows == 1) {
    launch(row_batch_kernel<1>, {dim3(ctas), threads}, stream, b, out);
  } else {
    launch(row_batch_kernel<kMostRows>, {dim3(ctas), threads}, stream, b, out);
  }
}

}  // namespace tendon::cuda
