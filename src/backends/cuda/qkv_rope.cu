// After the product of q, k and v: norms, rotation and each result to its place, one CTA a token.
#include "backends/cuda/device/rotate.cuh"
#include "backends/cuda/device/tensor_copy.cuh"
#include "backends/cuda/launch.h"
#include "backends/cuda/product.h"
#include "backends/cuda/row_product.h"

namespace tendon::cuda {
namespace {

constexpr int kThreads = 256;

struct Section {
  device::RowsView out;  // rows are heads of tokens; data null: not wanted
  const float* norm = nullptr;
  int first = 0, heads = 0, rotated = 0;
};

struct Args {
  const void* all = nullptr;  // [tokens, n]
  DType dtype = DType::bf16;
  const float* bias = nullptr;
  int n = 0, width = 0;  // of a head
  float eps = 1e-6f;
  device::Rotation rotation;
  Section section[3];
};

__device__ float block_sum(float v) {
  __shared__ float sums[kThreads / 32];
  v = device::warp_sum(v);
  __syncthreads();
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = v;
  __syncthreads();
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kThreads / 32; ++i) sum += sums[i];
  return sum;
}

template <int V>
__device__ void add_bias(const Args& a, int first, int half, int i, float (&x)[V], float (&y)[V]) {
  if (!a.bias) return;
  float c[V], d[V];
  device::load_pairs<V>(a.bias + first, 0, DType::f32, half, i, a.rotation.interleaved, c, d);
#pragma unroll
  for (int j = 0; j < V; ++j) x[j] += c[j], y[j] += d[j];
}

// Without norms a chunk needs nothing of the others: those of q, k and v in one pass.
template <int V>
__device__ void place_all(const Args& a) {
  const int token = blockIdx.x, half = a.width / 2, per_head = half / V;
  const int64_t base = int64_t{token} * a.n;
  const int total = (a.section[0].heads + a.section[1].heads + a.section[2].heads) * per_head;
  for (int c = threadIdx.x; c < total; c += kThreads) {
    int which = 0, h = c / per_head;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (which == i && h >= a.section[i].heads) h -= a.section[i].heads, which = i + 1;
    }
    const Section& s = a.section[which];
    const int head = s.first + h * a.width, i = c % per_head * V;
    float x[V], y[V];
    device::load_pairs<V>(a.all, base + head, a.dtype, half, i, a.rotation.interleaved, x, y);
    add_bias<V>(a, head, half, i, x, y);
    if (s.rotated) device::rotate<V>(a.rotation, token, half, i, x, y);
    device::store_pairs<V>(s.out.data, s.out.offset(token * s.heads + h), s.out.dtype, half, i,
                           a.rotation.interleaved, x, y);
  }
}

template <int V>
__device__ void place(const Args& a) {
  if (!a.section[0].norm && !a.section[1].norm) {
    place_all<V>(a);
    return;
  }
  const int token = blockIdx.x, half = a.width / 2, per_head = half / V;
  const int64_t base = int64_t{token} * a.n;
  for (int which = 0; which < 3; ++which) {
    const Section& s = a.section[which];
    if (!s.out.data) continue;
    const int chunks = s.heads * per_head;
    float x[V], y[V], scale = 1.0f;
    if (s.norm) {
      float sum = 0;
      for (int c = threadIdx.x; c < chunks; c += kThreads) {
        const int head = s.first + c / per_head * a.width, i = c % per_head * V;
        device::load_pairs<V>(a.all, base + head, a.dtype, half, i, a.rotation.interleaved, x, y);
        add_bias<V>(a, head, half, i, x, y);
#pragma unroll
        for (int j = 0; j < V; ++j) sum += x[j] * x[j] + y[j] * y[j];
      }
      scale = rsqrtf(block_sum(sum) / static_cast<float>(s.heads * a.width) + a.eps);
    }
    for (int c = threadIdx.x; c < chunks; c += kThreads) {
      const int h = c / per_head, head = s.first + h * a.width, i = c % per_head * V;
      device::load_pairs<V>(a.all, base + head, a.dtype, half, i, a.rotation.interleaved, x, y);
      add_bias<V>(a, head, half, i, x, y);
      if (s.norm) {
        float w[V], z[V];
        device::load_pairs<V>(s.norm + h * a.width, 0, DType::f32, half, i, a.rotation.interleaved,
                              w, z);
#pragma unroll
        for (int j = 0; j < V; ++j) x[j] *= scale * w[j], y[j] *= scale * z[j];
      }
      if (s.rotated) device::rotate<V>(a.rotation, token, half, i, x, y);
      device::store_pairs<V>(s.out.data, s.out.offset(token * s.heads + h), s.out.dtype, half, i,
                             a.rotation.interleaved, x, y);
    }
  }
}

template <int V>
__global__ void finish_kernel(Args a) {
  device::let_successors_start();
  device::wait_for_predecessors();
  place<V>(a);
}

// Several ops of one shape: blockIdx.y says which; `all` holds `bytes` of each.
template <int V>
__global__ void finish_batch_kernel(const Args* list, const char* all, int64_t bytes) {
  device::let_successors_start();
  Args a = list[blockIdx.y];
  a.all = all + blockIdx.y * bytes;
  device::wait_for_predecessors();
  place<V>(a);
}

Section section(Planner& planner, Value out, WeightRef norm, int first, bool rotated) {
  Section s;
  s.first = first;
  if (!out) return s;
  s.out = planner.rows(out);
  s.norm = planner.weights().vector(norm);
  s.heads = static_cast<int>(planner.trace().shape(out)[2]);
  s.rotated = rotated;
  return s;
}

// Without a rotation heads mean nothing: chunks of 16 elements take their place where memory
// allows.
void flatten(Args& a) {
  for (const Section& s : a.section) {
    const bool flat = s.out.row_stride == a.width && s.heads * a.width % 16 == 0;
    if (a.rotation.cos || (s.out.data && !flat)) return;
  }
  for (Section& s : a.section) {
    const int elements = s.heads * a.width;
    const int rows = s.out.rows, count = s.out.count;
    s.heads = elements / 16;
    s.out.rows = rows * a.width / 16;
    s.out.count = count * a.width / 16;
    s.out.width = 16;
    s.out.row_stride = 16;
  }
  a.width = 16;
}

Args arguments(Planner& planner, const ops::QkvRope& op) {
  const Trace& t = planner.trace();
  Args a;
  a.width = static_cast<int>(t.shape(op.k)[3]);
  a.n = static_cast<int>(t.program().weight(op.weight).shape[0]);
  a.eps = op.eps;
  a.bias = planner.weights().vector(op.bias);
  if (op.cos) {
    a.rotation = {planner.data<const float>(op.cos), planner.data<const float>(op.sin),
                  planner.data<const std::int32_t>(op.positions),
                  static_cast<int>(t.shape(op.positions).numel()),
                  op.style == ops::RopeStyle::interleaved};
  }
  const int kv = static_cast<int>(t.shape(op.k)[2]) * a.width, q = a.n - 2 * kv;
  a.section[0] = section(planner, op.q, op.norm_q, 0, static_cast<bool>(op.cos));
  a.section[1] = section(planner, op.k, op.norm_k, q, static_cast<bool>(op.cos));
  a.section[2] = section(planner, op.v, {}, q + kv, false);
  flatten(a);
  return a;
}

}  // namespace

namespace {

// One op as the kernels take it.
struct Planned {
  Args args;
  Product product;
  int vector = 1;
};

Planned planned(Planner& planner, const ops::QkvRope& op) {
  Planned p{arguments(planner, op), {.x = planner.rows(op.x), .weight = op.weight}};
  Args& a = p.args;
  p.product.n = a.n, p.product.k = p.product.x.width;
  p.product.in = product_dtype(planner, op.x, op.weight);
  bool half = p.product.in == DType::bf16;
  for (const Section& s : a.section) half &= !s.out.data || s.out.dtype == DType::bf16;
  a.dtype = half ? DType::bf16 : DType::f32;
  const bool wide = a.width % 16 == 0 && a.n % 8 == 0 &&
                    vector_width({a.section[0].out, a.section[1].out, a.section[2].out}) == 8;
  p.vector = wide ? 8 : 1;
  return p;
}

// First and one past the last byte of a value.
std::pair<const std::byte*, const std::byte*> extent(const Planner& planner, Value v) {
  const Planner::Operand o = planner.at(v);
  std::int64_t last = 1;
  for (int d = 0; o && d < o.info->shape.rank(); ++d) {
    last += (o.info->shape[d] - 1) * o.info->strides[static_cast<std::size_t>(d)];
  }
  return {o.data, o ? o.data + last * static_cast<std::int64_t>(size_of(o.info->dtype)) : o.data};
}

// Whether an op writes nothing that another reads or writes.
bool apart(const Planner& planner, const ops::QkvRope& writer, const ops::QkvRope& other) {
  for (const Value out : {writer.q, writer.k, writer.v}) {
    const auto [first, last] = extent(planner, out);
    for (const Value v : {other.x, other.q, other.k, other.v}) {
      const auto [begin, end] = extent(planner, v);
      if (first < end && begin < last) return false;
    }
  }
  return true;
}

bool alike(const Planned& a, const Planned& b) {
  return a.product.n == b.product.n && a.product.k == b.product.k && a.vector == b.vector &&
         a.product.x.count == b.product.x.count && a.args.dtype == b.args.dtype;
}

// The ops from `at` on that may share a launch.
std::vector<Planned> batch(Planner& planner, std::size_t at) {
  constexpr std::size_t kMost = 64;
  const std::vector<Op>& ops = planner.trace().ops();
  std::vector<Planned> all;
  for (std::size_t i = at; i < ops.size() && all.size() < kMost; ++i) {
    const auto* op = std::get_if<ops::QkvRope>(&ops[i]);
    if (!op) break;
    Planned p = planned(planner, *op);
    const RowBatch shape{.rows = p.product.x.count, .n = p.product.n, .k = p.product.k};
    const bool suits = p.product.in == DType::bf16 && p.product.x.dtype == DType::bf16 &&
                       p.product.x.even() &&
                       suits_row_batch(shape, {p.product.x.data, nullptr, p.product.x.row_stride});
    bool free = suits && (all.empty() || alike(all[0], p));
    for (std::size_t j = at; j < i && free; ++j) {
      const auto& earlier = std::get<ops::QkvRope>(ops[j]);
      free = apart(planner, earlier, *op) && apart(planner, *op, earlier);
    }
    if (!free) break;
    all.push_back(std::move(p));
  }
  return all;
}

}  // namespace

std::size_t plan_qkv_batch(Planner& planner, std::size_t at) {
  const std::vector<Planned> all = batch(planner, at);
  if (all.size() < 2) return 0;
  std::vector<RowEntry> entries;
  std::vector<Args> list;
  for (const Planned& p : all) {
    const void* weight = planner.weights().matrix(p.product.weight, DType::bf16);
    entries.push_back({p.product.x.data, weight, p.product.x.row_stride});
    list.push_back(p.args);
  }
  const Product& p = all[0].product;
  RowBatch b{.count = static_cast<int>(all.size()), .rows = p.x.count, .n = p.n, .k = p.k};
  b.out = all[0].args.dtype;
  // Beside another trace: a quarter of the device streams half as fast as all of it.
  if (planner.shared().aside) {
    b.multiprocessors = planner.shared().device.properties.multiProcessorCount / 4;
  }
  b.entries = static_cast<const RowEntry*>(
      planner.constant(entries.data(), entries.size() * sizeof(RowEntry)));
  const auto* args =
      static_cast<const Args*>(planner.constant(list.data(), list.size() * sizeof(Args)));
  const std::int64_t bytes = std::int64_t{b.rows} * b.n * static_cast<std::int64_t>(size_of(b.out));
  const Scratch sums = planner.scratch(all.size() * static_cast<std::size_t>(bytes));
  const int vector = all[0].vector;
  planner.launch([b, args, bytes, sums, vector](cudaStream_t stream) {
    launch_row_batch(b, sums.get(), stream);
    const dim3 grid(static_cast<unsigned>(b.rows), static_cast<unsigned>(b.count));
    const char* from = reinterpret_cast<const char*>(sums.get());
    if (vector == 8) {
      launch(finish_batch_kernel<8>, {grid, kThreads}, stream, args, from, bytes);
    } else {
      launch(finish_batch_kernel<1>, {grid, kThreads}, stream, args, from, bytes);
    }
  });
  return all.size();
}

void plan(Planner& planner, const ops::QkvRope& op) {
  const Planned p = planned(planner, op);
  const Scratch all = plan_product_to_scratch(planner, p.product, p.args.dtype);
  planner.launch([a = p.args, all, tokens = p.product.x.count,
                  vector = p.vector](cudaStream_t stream) mutable {
    a.all = all.get();
    const dim3 grid(static_cast<unsigned>(tokens));
    if (vector == 8) {
      launch(finish_kernel<8>, {grid, kThreads}, stream, a);
    } else {
      launch(finish_kernel<1>, {grid, kThreads}, stream, a);
    }
  });
}

}  // namespace tendon::cuda
