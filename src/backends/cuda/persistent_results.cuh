// From a product's partial sums to what its phase writes.
#pragma once

#include "backends/cuda/device/numeric.cuh"
#include "backends/cuda/persistent_team.cuh"

namespace tendon::cuda::persistent {

// Four results side by side: columns 4 h .. + 3 of unit `u` of the cluster, row m.
struct Quad {
  int u, m, h;
};

// What a CTA finishes: some rows of all of the cluster's columns. Where units are few, sixteen
// threads have a row, so that they can add it up.
struct Finish {
  int first_row, rows, units, first_unit, total, source;  // source: floats from one to the next
  bool few;
  float inverse;

  __device__ Finish(const ProductPhase& p, const Work& w)
      : first_row(w.first_row),
        rows(w.rows),
        units(w.units),
        first_unit(w.first_unit),
        total(p.by_columns ? w.rows * w.units * 2 : kThreads),
        source((p.m + kCluster - 1) / kCluster * w.units * kColumns),
        few(!p.by_columns),
        inverse(w.inverse_row) {}
  __device__ Quad quad(int i) const {
    const int r = few ? i >> 4 : divide(i, inverse), rest = few ? i & 15 : i - r * units * 2;
    return {rest / 2, first_row + r, rest % 2};
  }
  __device__ bool has(const Quad& q) const { return q.u < units && q.m < first_row + rows; }
  __device__ int at(const Quad& q) const {
    return ((q.m - first_row) * units + q.u) * kColumns + q.h * 4;
  }
};

// Seldom, so out of the way.
static __device__ __noinline__ float rare_curve(device::Curve c, float x) {
  return device::curve(c, x);
}
__device__ __forceinline__ float curve_of(device::Curve c, float x) {
  if (c == device::Curve::none) return x;
  if (c == device::Curve::gelu_erf) return rare_curve(c, x);
  const float u = c == device::Curve::silu ? x : 1.5957691216057308f * (x + 0.044715f * x * x * x);
  return __fdividef(x, 1.0f + __expf(-u));
}

// What results need beside their sums; fetched before they are complete.
struct Operands {
  float4 bias;
  float4 gate;   // or the turns of two pairs
  float4 other;  // a residual, or a norm's weights
  int to, step;  // elements: where the first goes, and how far from it its partner
};

__device__ __forceinline__ float4 four(const float* p) {
  return make_float4(p[0], p[1], p[2], p[3]);
}

__device__ __forceinline__ Operands plain_operands(const ProductPhase& p, const Where& w, int c,
                                                   int m) {
  Operands o{make_float4(0, 0, 0, 0), make_float4(1, 1, 1, 1), make_float4(0, 0, 0, 0), 0, 0};
  o.to = m * static_cast<int>(p.out.row_stride) + c;
  if (c >= p.n) return o;
  if (p.residual.data) {
    const int at = m * static_cast<int>(p.residual.row_stride) + c;
    if (p.residual.dtype == DType::bf16) {
      const uint2 v = __ldcg(
          reinterpret_cast<const uint2*>(static_cast<const __nv_bfloat16*>(p.residual.data) + at));
      const float2 x = device::unpack_bf16(v.x), y = device::unpack_bf16(v.y);
      o.other = make_float4(x.x, x.y, y.x, y.y);
    } else {
      o.other =
          __ldcg(reinterpret_cast<const float4*>(static_cast<const float*>(p.residual.data) + at));
    }
  }
  if (p.bias) o.bias = four(p.bias + c);
  const float* gate = p.after_q;
  if (p.gate.data) gate = table_row(p.gate, m, w.iteration, w.now);
  if (gate) o.gate = four(gate + c);
  return o;
}

__device__ __forceinline__ Operands gated_operands(const ProductPhase& p, int c, int m) {
  Operands o{};
  o.to = m * static_cast<int>(p.out.row_stride) + c;
  if (p.bias) o.bias.x = p.bias[c], o.bias.z = p.bias[c + 1];
  if (p.up_bias) o.bias.y = p.up_bias[c], o.bias.w = p.up_bias[c + 1];
  return o;
}

// The part of q, key and value that a unit's columns belong to.
__device__ __forceinline__ int part_of(const ProductPhase& p, int unit) {
  return (8 * unit >= p.q_columns) + (8 * unit >= p.q_columns + p.key_columns);
}
// Rows to write to.
struct Target {
  void* data;
  DType dtype;
  int stride;
};
__device__ __forceinline__ Target target_of(const device::RowsView& v) {
  return {v.data, v.dtype, static_cast<int>(v.row_stride)};
}
__device__ __forceinline__ Target target_of(const ProductPhase& p, int part) {
  const Target q = target_of(p.q), k = target_of(p.key), v = target_of(p.value);
  return {part == 0   ? q.data
          : part == 1 ? k.data
                      : v.data,
          part == 0   ? q.dtype
          : part == 1 ? k.dtype
                      : v.dtype,
          part == 0   ? q.stride
          : part == 1 ? k.stride
                      : v.stride};
}

// Two pairs of a rotation, or four neighbours of a value; all lie in one head.
__device__ __forceinline__ Operands pair_operands(const ProductPhase& p, const int32_t* positions,
                                                  int unit, int m, int h) {
  const int part = part_of(p, unit), half = p.head / 2;
  const int before = part == 0 ? 0 : part == 1 ? p.q_columns : p.q_columns + p.key_columns;
  const int pair = 4 * unit + 2 * h - before / 2, head = divide(pair, p.inverse_half);
  const int i = pair - head * half;
  const bool halves = part < 2 && !p.rotation.interleaved;
  Operands o{make_float4(0, 0, 0, 0), make_float4(1, 0, 1, 0), make_float4(1, 1, 1, 1), 0,
             halves ? half : 1};
  const int first = halves ? i : 2 * i, c = head * p.head + first, next = halves ? 1 : 2;
  if (part < 2 && p.rotation.cos) {
    const int at = positions[m] * half + i;
    o.gate = make_float4(p.rotation.cos[at], p.rotation.sin[at], p.rotation.cos[at + 1],
                         p.rotation.sin[at + 1]);
  }
  const float* weights = part == 0 ? p.after_q : p.after_key;
  if (part < 2 && weights) {
    weights += c;
    o.other = make_float4(weights[0], weights[o.step], weights[next], weights[next + o.step]);
  }
  if (p.bias) {
    const float* bias = p.bias + before + c;
    o.bias = make_float4(bias[0], bias[o.step], bias[next], bias[next + o.step]);
  }
  const int columns = part ? p.key_columns : p.q_columns;
  const int row = m * divide(columns, 0.5f * p.inverse_half) + head;
  o.to = row * target_of(p, part).stride + first;
  return o;
}

__device__ __forceinline__ Operands operands_of(const ProductPhase& p, const Where& w,
                                                const int32_t* positions, const Quad& q, int unit) {
  if (p.columns == Columns::plain) return plain_operands(p, w, 8 * unit + 4 * q.h, q.m);
  if (p.columns == Columns::gated) return gated_operands(p, 4 * unit + 2 * q.h, q.m);
  return pair_operands(p, positions, unit, q.m, q.h);
}

__device__ __forceinline__ void store_two(const Target& to, int at, float x, float y) {
  if (to.dtype == DType::bf16) {
    *reinterpret_cast<uint32_t*>(static_cast<__nv_bfloat16*>(to.data) + at) =
        device::pack_bf16(x, y);
  } else if (to.dtype == DType::f16) {
    *reinterpret_cast<uint32_t*>(static_cast<__half*>(to.data) + at) = device::pack_f16(x, y);
  } else {
    *reinterpret_cast<float2*>(static_cast<float*>(to.data) + at) = make_float2(x, y);
  }
}

// What is stored, in what the readers see of it.
__device__ __forceinline__ float2 store_seen(const Target& to, int at, float x, float y) {
  store_two(to, at, x, y);
  return to.dtype == DType::bf16 ? device::unpack_bf16(device::pack_bf16(x, y)) : make_float2(x, y);
}

// Sum and sum of squares of what is stored of a row of plain columns.
__device__ __forceinline__ float2 store_results(const ProductPhase& p, int unit, int h, float4 sum,
                                                const Operands& o) {
  if (p.columns == Columns::gated) {
    store_two(target_of(p.out), o.to, curve_of(p.curve, sum.x) * sum.y,
              curve_of(p.curve, sum.z) * sum.w);
  } else if (p.columns == Columns::plain) {
    if (8 * unit + 4 * h >= p.n) return make_float2(0, 0);
    const float2 a =
        store_seen(target_of(p.out), o.to, curve_of(p.curve, sum.x) * o.gate.x + o.other.x,
                   curve_of(p.curve, sum.y) * o.gate.y + o.other.y);
    const float2 b =
        store_seen(target_of(p.out), o.to + 2, curve_of(p.curve, sum.z) * o.gate.z + o.other.z,
                   curve_of(p.curve, sum.w) * o.gate.w + o.other.w);
    return make_float2(a.x + a.y + b.x + b.y, a.x * a.x + a.y * a.y + b.x * b.x + b.y * b.y);
  } else {
    const Target view = target_of(p, part_of(p, unit));
    if (!view.data) return make_float2(0, 0);
    const float4 v =
        make_float4(sum.x * o.other.x, sum.y * o.other.y, sum.z * o.other.z, sum.w * o.other.w);
    const float x0 = v.x * o.gate.x - v.y * o.gate.y, y0 = v.y * o.gate.x + v.x * o.gate.y;
    const float x1 = v.z * o.gate.z - v.w * o.gate.w, y1 = v.w * o.gate.z + v.z * o.gate.w;
    const bool apart = o.step > 1;
    store_two(view, o.to, x0, apart ? x1 : y0);
    store_two(view, o.to + (apart ? o.step : 2), apart ? y0 : x1, y1);
  }
  return make_float2(0, 0);
}

// Squares of the rows that this CTA finished, from the raw results that it left in its own sums.
static __device__ __noinline__ void sum_squares(const ProductPhase& p, const Where& w,
                                                const Work& work, const float* sums) {
  const Finish f(p, work);
  const int lane = w.lane();
#pragma unroll 1
  for (int m = f.first_row + w.warp(); m < f.first_row + f.rows; m += kWarps) {
    float q = 0, k = 0;
#pragma unroll 2
    for (int i = lane; i < f.units * 2; i += 32) {
      const float4 v = *reinterpret_cast<const float4*>(sums + f.at({i / 2, m, i % 2}));
      const float s = v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
      const int part = p.columns == Columns::plain ? 0 : part_of(p, f.first_unit + i / 2);
      q += part == 0 ? s : 0.0f, k += part == 1 ? s : 0.0f;
    }
    q = device::warp_sum(q), k = device::warp_sum(k);
    if (lane == 0) {
      p.squares[2 * w.cluster * p.m + m] = q;
      p.squares[(2 * w.cluster + 1) * p.m + m] = k;
    }
  }
}

// From partial sums to results.
static __device__ __noinline__ void finish_product(const ProductPhase& phase, const Where& w,
                                                   const Gate& gate, const Work& work,
                                                   const int32_t* positions, float* partial,
                                                   Inbox& inbox) {
  const ProductPhase p = phase;  // in registers: else every store would have it read anew
  const Finish f(p, work);
  const int sources = work.sources;
  bool met = false;
#pragma unroll 1
  for (int i = w.thread; !met || i < f.total; i += kThreads) {
    const Quad q = f.quad(min(i, max(f.total - 1, 0)));
    const bool live = i < f.total && f.has(q);
    const int unit = min(f.first_unit + q.u, p.units - 1);
    const Operands o = operands_of(p, w, positions, {q.u, min(q.m, p.m - 1), q.h}, unit);
    if (!met) {
      met = true;
      inbox.wait();
      gate.mark(8);
    }
    float2 seen = make_float2(0, 0);
    if (live) {
      float* from = partial + f.at(q);
      float4 sum = o.bias;
#pragma unroll 4
      for (int s = 0; s < sources; ++s) {
        const float4 part = *reinterpret_cast<const float4*>(from + s * f.source);
        sum.x += part.x, sum.y += part.y, sum.z += part.z, sum.w += part.w;
      }
      if (p.squares) *reinterpret_cast<float4*>(from) = sum;
      seen = store_results(p, unit, q.h, sum, o);
    }
    if (!p.out_sums) continue;
#pragma unroll 1
    for (int s = 8; s > 0; s /= 2) {
      seen.x += __shfl_xor_sync(0xffffffffu, seen.x, s);
      seen.y += __shfl_xor_sync(0xffffffffu, seen.y, s);
    }
    if (live && i % 16 == 0) {
      reinterpret_cast<float2*>(p.out_sums)[w.cluster * p.m + q.m] = seen;
    }
  }
  if (p.squares) {
    team_sync();
    sum_squares(phase, w, work, partial);
  }
}

}  // namespace tendon::cuda::persistent
