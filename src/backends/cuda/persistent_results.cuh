// From a product's partial sums to what its phase writes.
#pragma once

#include "backends/cuda/device/numeric.cuh"
#include "backends/cuda/persistent_team.cuh"

namespace tendon::cuda::persistent {

// Results are finished four side by side: columns 4 h .. + 3 of a unit. The threads of a row have
// its quads by turns.
struct Finisher {
  int m, part, lanes, quads;  // the row; quads of it: none if the row is not this CTA's
  int own;                    // the row counted from the CTA's first

  __device__ Finisher(const ProductPhase& p, const Work& w, int thread)
      : part(thread & (1 << p.row_log) - 1), lanes(1 << p.row_log), own(thread >> p.row_log) {
    m = w.first_row + own;
    quads = own < w.rows ? w.units * 2 : 0;
  }
};

// Seldom, so out of the way.
static __device__ __noinline__ float rare_curve(device::Curve c, float x) {
  return device::curve(c, x);
}
// x[0..N) through a curve that is one.
template <int N>
__device__ __forceinline__ void curve_of(device::Curve c, float (&x)[N]) {
  if (c == device::Curve::gelu_erf) {
#pragma unroll 1
    for (int i = 0; i < N; ++i) {  // the first goes to the end
      const float y = rare_curve(c, x[0]);
#pragma unroll
      for (int j = 0; j + 1 < N; ++j) x[j] = x[j + 1];
      x[N - 1] = y;
    }
    return;
  }
  const bool silu = c == device::Curve::silu;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const float u = silu ? x[i] : 1.5957691216057308f * (x[i] + 0.044715f * x[i] * x[i] * x[i]);
    x[i] = __fdividef(x[i], 1.0f + __expf(-u));
  }
}

// The part of q, key and value that a unit's columns belong to.
__device__ __forceinline__ int part_of(const ProductPhase& p, int unit) {
  return (8 * unit >= p.q_columns) + (8 * unit >= p.q_columns + p.key_columns);
}

// Columns of q, key or value that quad h of a unit has: two pairs of a rotation, or four neighbours
// of a value; all lie in one head.
struct Pairs {
  int part, before;       // before: columns in front of the part
  int head, first, step;  // first: column of the head; the pair's other is `step` on
  int i;                  // number of the first pair in the head

  __device__ __forceinline__ Pairs(const ProductPhase& p, int unit, int h) {
    part = part_of(p, unit);
    const int half = p.head / 2;
    before = part == 0 ? 0 : part == 1 ? p.q_columns : p.q_columns + p.key_columns;
    const int pair = 4 * unit + 2 * h - before / 2;
    head = divide(pair, p.inverse_half);
    i = pair - head * half;
    const bool halves = part < 2 && !p.rotation.interleaved;
    first = halves ? i : 2 * i;
    step = halves ? half : 1;
  }
  // Where two neighbours of four columns begin, and the two others: a load each.
  __device__ int others() const { return step > 1 ? step : 2; }
};

// What results need beside their sums.
struct Operands {
  float4 bias, factor, other, scale;
};

// Of quad `q`; `row`: of the thread's turn, left at the next.
__device__ __forceinline__ Operands read_operands(const ProductPhase& p, const std::byte* columns,
                                                  int q, const std::byte*& row) {
  Operands o{make_float4(0, 0, 0, 0), make_float4(1, 1, 1, 1), make_float4(0, 0, 0, 0),
             make_float4(0, 0, 0, 0)};
  columns += q * 16;
  const int part_bytes = column_part_bytes(p);
  float4 weight = make_float4(1, 1, 1, 1);
  auto next_part = [&](bool there, float4& v) {
    if (!there) return;
    v = *reinterpret_cast<const float4*>(columns);
    columns += part_bytes;
  };
  next_part(p.bias || p.up_bias, o.bias);
  next_part(p.after_q || p.after_key, weight);
  next_part(p.scaled, o.scale);
  auto next = [&] {
    const float4 v = *reinterpret_cast<const float4*>(row);
    row += kOperandBytes;
    return v;
  };
  if (p.columns == Columns::pairs) {
    o.other = weight;
    if (p.rotation.cos) o.factor = next();
  } else if (p.columns == Columns::plain) {
    o.factor = p.gate.data ? next() : weight;
    if (!p.residual.data) return o;
    o.other = next();
    if (p.residual.dtype == DType::bf16) {
      const float2 x = device::unpack_bf16(__float_as_uint(o.other.x));
      const float2 y = device::unpack_bf16(__float_as_uint(o.other.y));
      o.other = make_float4(x.x, x.y, y.x, y.y);
    }
  }
  return o;
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

// Two neighbours at `at`, two others at `then`.
__device__ __forceinline__ void store_twos(const Target& to, int at, float2 x, int then, float2 y) {
  if (to.dtype == DType::f32) {
    float* data = static_cast<float*>(to.data);
    *reinterpret_cast<float2*>(data + at) = x, *reinterpret_cast<float2*>(data + then) = y;
    return;
  }
  const bool bf16 = to.dtype == DType::bf16;
  uint16_t* data = static_cast<uint16_t*>(to.data);
  *reinterpret_cast<uint32_t*>(data + at) =
      bf16 ? device::pack_bf16(x.x, x.y) : device::pack_f16(x.x, x.y);
  *reinterpret_cast<uint32_t*>(data + then) =
      bf16 ? device::pack_bf16(y.x, y.y) : device::pack_f16(y.x, y.y);
}

// Four neighbours; what the readers see of them.
__device__ __forceinline__ float4 store_four(const Target& to, int at, float4 v) {
  if (to.dtype == DType::bf16) {
    const uint2 bits = make_uint2(device::pack_bf16(v.x, v.y), device::pack_bf16(v.z, v.w));
    *reinterpret_cast<uint2*>(static_cast<__nv_bfloat16*>(to.data) + at) = bits;
    const float2 x = device::unpack_bf16(bits.x), y = device::unpack_bf16(bits.y);
    return make_float4(x.x, x.y, y.x, y.y);
  }
  store_twos(to, at, make_float2(v.x, v.y), at + 2, make_float2(v.z, v.w));
  return v;
}

__device__ __forceinline__ float square(float4 v) {
  return v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
}

// Two pairs of q, key or value: with their norm's weights, turned. Squares before that are added
// to those of queries and of keys.
__device__ __forceinline__ void store_pairs(const ProductPhase& p, const Pairs& t, int m,
                                            float4 sum, const Operands& o, float2& squares) {
  const bool halves = t.step > 1;
  const Target view = target_of(p, t.part);
  // Operands lie as in memory; of halves that is the firsts of both pairs, then the seconds.
  auto by_pairs = [&](float4 v) { return halves ? make_float4(v.x, v.z, v.y, v.w) : v; };
  if (p.bias) {
    const float4 b = by_pairs(o.bias);
    sum.x += b.x, sum.y += b.y, sum.z += b.z, sum.w += b.w;
  }
  const float s = square(sum);
  squares.x += t.part == 0 ? s : 0.0f, squares.y += t.part == 1 ? s : 0.0f;
  if (!view.data) return;
  float4 v = sum;
  float4 turn = make_float4(1, 1, 0, 0);  // cosines, sines
  if (t.part < 2) {
    const float4 w = by_pairs(o.other);
    if (t.part == 0 ? p.after_q != nullptr : p.after_key != nullptr) {
      v = make_float4(sum.x * w.x, sum.y * w.y, sum.z * w.z, sum.w * w.w);
    }
    if (p.rotation.cos) turn = o.factor;
  }
  const float x0 = v.x * turn.x - v.y * turn.z, y0 = v.y * turn.x + v.x * turn.z;
  const float x1 = v.z * turn.y - v.w * turn.w, y1 = v.w * turn.y + v.z * turn.w;
  const int columns = t.part ? p.key_columns : p.q_columns;
  const int row = m * divide(columns, 0.5f * p.inverse_half) + t.head;
  const int to = row * view.stride + t.first;
  store_twos(view, to, make_float2(x0, halves ? x1 : y0), to + t.others(),
             make_float2(halves ? y0 : x1, y1));
}

// Four columns; added to `seen` are their sum and the sum of their squares as they are stored.
__device__ __forceinline__ void store_plain(const ProductPhase& p, int c, int m, float4 sum,
                                            const Operands& o, float2& seen) {
  if (c >= p.n) return;
  float v[4] = {sum.x + o.bias.x, sum.y + o.bias.y, sum.z + o.bias.z, sum.w + o.bias.w};
  if (p.squares) {  // of a norm of queries, whose weights are the factor
    seen.x += square(make_float4(v[0], v[1], v[2], v[3]));
  }
  if (p.curve != device::Curve::none) curve_of(p.curve, v);
  const Target view = target_of(p.out);
  const float4 r =
      store_four(view, m * view.stride + c,
                 make_float4(fmaf(v[0], o.factor.x, o.other.x), fmaf(v[1], o.factor.y, o.other.y),
                             fmaf(v[2], o.factor.z, o.other.z), fmaf(v[3], o.factor.w, o.other.w)));
  if (p.out_sums) seen.x += r.x + r.y + r.z + r.w, seen.y += square(r);
  if (p.scaled) {
    store_four({p.scaled, DType::bf16, p.n}, m * p.n + c,
               make_float4(r.x * o.scale.x, r.y * o.scale.y, r.z * o.scale.z, r.w * o.scale.w));
  }
}

// Two columns of a gate and of what it is multiplied with.
__device__ __forceinline__ void store_gated(const ProductPhase& p, int c, int m, float4 sum,
                                            const Operands& o) {
  float gate[2] = {sum.x + o.bias.x, sum.z + o.bias.y};
  if (p.curve != device::Curve::none) curve_of(p.curve, gate);
  const Target view = target_of(p.out);
  const float x = gate[0] * (sum.y + o.bias.z), y = gate[1] * (sum.w + o.bias.w);
  const int at = m * view.stride + c;
  if (view.dtype == DType::bf16) {
    *reinterpret_cast<uint32_t*>(static_cast<__nv_bfloat16*>(view.data) + at) =
        device::pack_bf16(x, y);
  } else {
    device::store(view.data, at, view.dtype, x), device::store(view.data, at + 1, view.dtype, y);
  }
}

__device__ __forceinline__ void store_quad(const ProductPhase& p, int unit, int h, int m,
                                           float4 sum, const Operands& o, float2& sums) {
  if (p.columns == Columns::pairs) {
    store_pairs(p, Pairs(p, unit, h), m, sum, o, sums);
  } else if (p.columns == Columns::gated) {
    store_gated(p, 4 * unit + 2 * h, m, sum, o);
  } else {
    store_plain(p, 8 * unit + 4 * h, m, sum, o, sums);
  }
}

// Where partial sums of a row come from and go to.
struct Results {
  Inbox inbox;
  std::uint32_t address;  // the same in every CTA: floats [source][row of the CTA][column]
  const float* sums;      // the same place
};

// From partial sums, added in a fixed order, to results.
__device__ __forceinline__ void finish_product(const ProductPhase& phase, const Where& w,
                                               const Gate& gate, const Work& work,
                                               const std::byte* columns, Results& results) {
  const ProductPhase p = phase;  // in registers: else every store would have it read anew
  const Finisher f(p, work, w.thread);
  const std::byte* rows = columns + column_parts(p) * column_part_bytes(p) + w.thread * 16;
  const int first_unit = work.first_unit;
  const int sources = sources_of(p);
  const int pitch = sums_pitch(work.units), stride = most_finished(p) * pitch;
  const float* row = results.sums + f.own * pitch;
  results.inbox.wait();
  gate.mark(8);
  float2 sums = make_float2(0, 0);
#pragma unroll 1
  for (int q = f.part; q < f.quads; q += f.lanes) {
    const float* from = row + q * 4;
    float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll 1
    for (int s = 0; s < sources; s += kSharers, from += kSharers * stride) {
#pragma unroll
      for (int i = 0; i < kSharers; ++i) {
        if (i >= 2 && sources == 2) break;
        const float4 v = *reinterpret_cast<const float4*>(from + i * stride);
        sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
      }
    }
    const Operands o = read_operands(p, columns, q, rows);
    store_quad(p, first_unit + q / 2, q % 2, f.m, sum, o, sums);
  }
  if (!p.out_sums && !p.squares) return;
#pragma unroll
  for (int s = 16; s > 0; s /= 2) {  // sixteen threads or more have a row
    const float x = __shfl_xor_sync(0xffffffffu, sums.x, s);
    const float y = __shfl_xor_sync(0xffffffffu, sums.y, s);
    if (s < 16 || f.lanes > 16) sums.x += x, sums.y += y;
  }
  if (f.part > 0 || f.own >= work.rows) return;
  if (p.squares) {
    float* squares = p.squares + 2 * (w.cta >> p.share_log) * p.m + f.m;
    squares[0] = sums.x, squares[p.m] = sums.y;
  } else {
    reinterpret_cast<float2*>(p.out_sums)[w.cta / kSharers * kMostRows + f.m] = sums;
  }
}

}  // namespace tendon::cuda::persistent
