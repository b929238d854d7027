// Phases of rows and of single elements: norms, ops without structure.
#pragma once

#include "backends/cuda/persistent_elements.cuh"

namespace tendon::cuda::persistent {

// The sum over the team of what its threads have; `memory` holds kWarps numbers.
__device__ __forceinline__ float team_sum(float v, float* memory, const Where& w) {
  const int thread = team_thread(w);
  v = device::warp_sum(v);
  if (thread % 32 == 0) memory[thread / 32] = v;
  team_sync();
  const float4 a = reinterpret_cast<const float4*>(memory)[0];
  const float4 b = reinterpret_cast<const float4*>(memory)[1];
  return ((a.x + a.y) + (a.z + a.w)) + ((b.x + b.y) + (b.z + b.w));
}

// A row of a norm and what its elements are multiplied by and shifted by; absent tables are null.
struct NormRow {
  const std::byte* x;
  std::byte* out;
  const float *weight, *bias, *scale, *shift;
};

// N neighbours from element c on: 4, whose places are even, in fp32 or bf16, or 1.
template <int N>
struct NormPart {
  float v[N], gain[N], shift[N];

  static __device__ __forceinline__ void table(const float* t, int c, float absent, float (&v)[N]) {
#pragma unroll
    for (int j = 0; j < N; ++j) v[j] = absent;
    if (!t) return;
    if constexpr (N == 1) {
      v[0] = __ldcg(t + c);
    } else {
      const float4 f = __ldcg(reinterpret_cast<const float4*>(t + c));
      v[0] = f.x, v[1] = f.y, v[2] = f.z, v[3] = f.w;
    }
  }
  __device__ __forceinline__ void load(const NormPhase& p, const NormRow& t, int c) {
    const DType type = p.x.dtype;
    const std::byte* from = element(t.x, c, type);
    float bias[N], scale[N];
    uint4 bits;
    if constexpr (N == 1) {
      bits.x = load_bits(from, type == DType::f32, true);
    } else if (type == DType::f32) {
      bits = __ldcg(reinterpret_cast<const uint4*>(from));
    } else {
      const uint2 half = __ldcg(reinterpret_cast<const uint2*>(from));
      bits.x = half.x, bits.z = half.y;
    }
    table(t.weight, c, 1.0f - p.offset, gain);
    table(t.bias, c, 0.0f, bias);
    table(t.scale, c, 0.0f, scale);
    table(t.shift, c, 0.0f, shift);
    if constexpr (N == 1) {
      v[0] = value_of(bits.x, type);
    } else if (type == DType::f32) {
      v[0] = __uint_as_float(bits.x), v[1] = __uint_as_float(bits.y);
      v[2] = __uint_as_float(bits.z), v[3] = __uint_as_float(bits.w);
    } else {
      const float2 a = device::unpack_bf16(bits.x), b = device::unpack_bf16(bits.z);
      v[0] = a.x, v[1] = a.y, v[2] = b.x, v[3] = b.y;
    }
#pragma unroll
    for (int j = 0; j < N; ++j) {
      gain[j] = (p.offset + gain[j]) * (1.0f + scale[j]);
      shift[j] = fmaf(bias[j], 1.0f + scale[j], shift[j]);
    }
  }
  __device__ __forceinline__ void store(const NormPhase& p, const NormRow& t, int c, float mean,
                                        float deviation) const {
    float r[N];
#pragma unroll
    for (int j = 0; j < N; ++j) r[j] = fmaf((v[j] - mean) * deviation, gain[j], shift[j]);
    const DType type = p.out.dtype;
    std::byte* to = element(t.out, c, type);
    if constexpr (N == 1) {
      put(to, type, r[0]);
    } else if (type == DType::f32) {
      *reinterpret_cast<float4*>(to) = make_float4(r[0], r[1], r[2], r[3]);
    } else {
      *reinterpret_cast<uint2*>(to) =
          make_uint2(device::pack_bf16(r[0], r[1]), device::pack_bf16(r[2], r[3]));
    }
  }
};

// The team's row in up to three passes: the mean, the deviation, the result. A row of one part for
// each thread is read but once.
template <int N>
__device__ __forceinline__ void norm_row(const NormPhase& p, const NormRow& t, const Where& w,
                                         float* memory) {
  const int width = p.x.width;
  float mean = 0, deviation = 0;
  NormPart<N> part;
  bool loaded = false;
#pragma unroll 1
  for (int pass = p.kind == NormKind::layer ? 0 : 1; pass < 3; ++pass) {
    float sum = 0;
#pragma unroll 1
    for (int c = team_thread(w) * N; c < width; c += N * kThreads) {
      if (!loaded) part.load(p, t, c);
      loaded = width <= N * kThreads;
      if (pass == 2) part.store(p, t, c, mean, deviation);
#pragma unroll
      for (int j = 0; j < N; ++j) {
        const float d = part.v[j] - mean;
        sum = fmaf(d, pass == 0 ? 1.0f : d, sum);
      }
    }
    if (pass == 2) break;
    const float average = __fdividef(team_sum(sum, memory + pass * kWarps, w), width);
    if (pass == 0) mean = average;
    if (pass == 1) deviation = rsqrtf(average + p.eps);
  }
}

// Rows at odd places or in f16, out of the way of the others.
static __device__ __noinline__ void norm_odd_row(const NormPhase& p, NormRow t, Where w,
                                                 float* memory) {
  norm_row<1>(p, t, w, memory);
}

static __device__ __noinline__ void run_norm(const NormPhase& p, Where w, std::byte* region) {
  float* sums = reinterpret_cast<float*>(region);
#pragma unroll 1
  for (int r = w.cta; r < p.x.count; r += w.ctas) {
    if (r != w.cta) team_sync();
    const NormRow t{element(p.x.data, row_at(p.x, r), p.x.dtype),
                    element(p.out.data, row_at(p.out, r), p.out.dtype),
                    p.weight,
                    p.bias,
                    p.scale.data ? row_of_table(p.scale, r, w) : nullptr,
                    p.shift.data ? row_of_table(p.shift, r, w) : nullptr};
    const uintptr_t places =
        reinterpret_cast<uintptr_t>(t.x) | reinterpret_cast<uintptr_t>(t.out) |
        reinterpret_cast<uintptr_t>(t.weight) | reinterpret_cast<uintptr_t>(t.bias) |
        reinterpret_cast<uintptr_t>(t.scale) | reinterpret_cast<uintptr_t>(t.shift);
    const bool half = p.x.dtype == DType::f16 || p.out.dtype == DType::f16;
    if (static_cast<int>(places) % 16 == 0 && p.x.width % 4 == 0 && !half) {
      norm_row<4>(p, t, w, sums);
    } else {
      norm_odd_row(p, t, w, sums);
    }
  }
}

// Where element (r, c) lies.
static __device__ __noinline__ std::byte* place(const device::RowsView& v, int r, int c) {
  int at = row_at(v, r);
  if (v.rows != v.count) {
    const int batch = plain_quotient(r, v.rows);
    at = batch * static_cast<int>(v.batch_stride) + row_at(v, r - batch * v.rows);
  }
  return element(v.data, at + c, v.dtype);
}

// One element of an op: curve(x), then times factor * y or plus factor * y.
struct Item {
  const std::byte* a = nullptr;  // null: zero
  const std::byte* b = nullptr;  // null: y = 1
  std::byte* out = nullptr;
  int a_type = 0, b_type = 0, out_type = 0;
  int curve = 0;
  int times = 0, plus = 0;
  float factor = 1, scale = 1;
};

// Indices may lie in shared memory.
__device__ __forceinline__ int read_index(const int32_t* p) {
  return *const_cast<const volatile int32_t*>(p);
}

__device__ __forceinline__ void locate(const RowsArgs& p, int r, int c, Item& t) {
  const bool select = p.kind == RowsArgs::Kind::select;
  const bool other = select && read_index(p.mask + r) == 0;
  const device::RowsView& a = other ? p.b : p.a;
  t.a_type = static_cast<int>(a.dtype), t.a = place(a, r, c);
  if (p.b.data && !select) t.b_type = static_cast<int>(p.b.dtype), t.b = place(p.b, r, c);
  t.out_type = static_cast<int>(p.out.dtype), t.out = place(p.out, r, c);
  t.times = p.kind == RowsArgs::Kind::gated, t.plus = p.kind == RowsArgs::Kind::axpy;
  if (!t.plus && !select) t.curve = static_cast<int>(p.curve);
  if (!t.plus) return;
  t.factor = p.factor;
  if (!p.scale.data) return;
  const int at = p.scale.index ? read_index(p.scale.index + plain_quotient(r, p.scale.rows)) : 0;
  t.scale = __ldcg(p.scale.data + at * p.scale.stride);
}

__device__ __forceinline__ void locate(const StridedArgs& p, int i, Item& t) {
  int a = 0, b = 0, out = 0;
#pragma unroll 1
  for (int d = p.extents.rank - 1; d >= 0; --d) {
    const int extent = static_cast<int>(p.extents.extent[d]), whole = plain_quotient(i, extent);
    const int index = i - whole * extent;
    i = whole;
    a += index * static_cast<int>(p.a.stride[d]), b += index * static_cast<int>(p.b.stride[d]);
    out += index * static_cast<int>(p.out.stride[d]);
  }
  t.a = element(p.a.data, a, p.a.dtype), t.out = element(p.out.data, out, p.out.dtype);
  if (p.kind == StridedArgs::Kind::raw) return;  // bits as they are
  t.a_type = static_cast<int>(p.a.dtype), t.out_type = static_cast<int>(p.out.dtype);
  t.times = p.kind == StridedArgs::Kind::mul, t.plus = p.kind == StridedArgs::Kind::add;
  if (!t.times && !t.plus) return;
  t.b_type = static_cast<int>(p.b.dtype), t.b = element(p.b.data, b, p.b.dtype);
}

__device__ __forceinline__ void locate(const GatherArgs& p, int r, int c, Item& t) {
  const int from = read_index(p.index + r);
  if (from >= 0) t.a = place(p.x, from, c);
  t.out = place(p.out, r, c);
  if (p.raw) return;  // bits as they are
  t.a_type = static_cast<int>(p.x.dtype), t.out_type = static_cast<int>(p.out.dtype);
  t.times = 1, t.factor = p.scale;
}

// As load_bits() with bytes too.
__device__ __forceinline__ uint32_t load_item(const std::byte* p, int type) {
  const int bits = size_bits(static_cast<DType>(type));
  if (p && bits == 0) return __ldcg(reinterpret_cast<const unsigned char*>(p));
  return load_bits(p, bits == 2, p);
}

static __device__ __noinline__ void run_items(const Phase& phase, Where w) {
  const int items = static_cast<int>(phase.items);
#pragma unroll 1
  for (int i = w.cta * kThreads + w.thread; i < items; i += w.ctas * kThreads) {
    Item t;
    if (phase.kind == Kind::strided) {
      locate(phase.strided, i, t);
    } else {
      const bool rows = phase.kind == Kind::rows;
      const int width = rows ? phase.rows.out.width : phase.gather.out.width;
      const int r = plain_quotient(i, width), c = i - r * width;
      if (rows) locate(phase.rows, r, c, t);
      if (!rows) locate(phase.gather, r, c, t);
    }
    const uint32_t a = load_item(t.a, t.a_type), b = load_item(t.b, t.b_type);
    float x = value_of(a, static_cast<DType>(t.a_type));
    const float y = t.b ? value_of(b, static_cast<DType>(t.b_type)) : 1.0f;
    if (t.curve) x = device::curve(static_cast<device::Curve>(t.curve), x);
    const float factor = t.factor * t.scale;
    if (t.times) x *= factor * y;
    if (t.plus) x = fmaf(factor, y, x);
    put(t.out, static_cast<DType>(t.out_type), x);
  }
}

}  // namespace tendon::cuda::persistent
