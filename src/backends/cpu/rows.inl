// Loops over one row. Included after simd.inl.

template <class Each>
TENDON_INLINE void for_each_vector(float* x, std::int64_t n, Each each) {
  std::int64_t i = 0;
  for (; i + W <= n; i += W) store(x + i, each(load(x + i), i, std::int64_t{W}));
  if (i < n) store_part(x + i, each(load_part(x + i, n - i), i, n - i), n - i);
}

// p[i ..) with zeros past the end of the row, where `count` of W elements exist.
TENDON_INLINE F at(const float* p, std::int64_t i, std::int64_t count) {
  return count == W ? load(p + i) : load_part(p + i, count);
}

template <class Convert>
TENDON_INLINE void load_halves(const std::uint16_t* src, std::int64_t n, float* dst,
                               Convert convert) {
  std::int64_t i = 0;
  for (; i + W <= n; i += W) store(dst + i, convert(*reinterpret_cast<const LooseH*>(src + i)));
  if (i == n) return;
  H h{};
  __builtin_memcpy(&h, src + i, static_cast<std::size_t>(n - i) * 2);
  store_part(dst + i, convert(h), n - i);
}

template <class Convert>
TENDON_INLINE void store_halves(const float* src, std::int64_t n, std::uint16_t* dst,
                                Convert convert) {
  std::int64_t i = 0;
  for (; i + W <= n; i += W) *reinterpret_cast<LooseH*>(dst + i) = convert(load(src + i));
  if (i == n) return;
  const H h = convert(load_part(src + i, n - i));
  __builtin_memcpy(dst + i, &h, static_cast<std::size_t>(n - i) * 2);
}

void load_row(DType from, const void* src, std::int64_t n, float* dst) {
  const auto* halves = static_cast<const std::uint16_t*>(src);
  switch (from) {
    case DType::bf16:
      return load_halves(halves, n, dst, [](H h) { return from_bf16(h); });
    case DType::f16:
      return load_halves(halves, n, dst, [](H h) { return from_f16(h); });
    default:
      __builtin_memcpy(dst, src, static_cast<std::size_t>(n) * 4);
  }
}

void store_row(DType to, const float* src, std::int64_t n, void* dst) {
  auto* halves = static_cast<std::uint16_t*>(dst);
  switch (to) {
    case DType::bf16:
      return store_halves(src, n, halves, [](F f) { return to_bf16(f); });
    case DType::f16:
      return store_halves(src, n, halves, [](F f) { return to_f16(f); });
    default:
      __builtin_memcpy(dst, src, static_cast<std::size_t>(n) * 4);
  }
}

template <class Load>
TENDON_INLINE void load_each_row(const RowLoad& r, Load load) {
  const auto* x = static_cast<const std::byte*>(r.x);
  float* out = r.out;
  for (std::int64_t i = 0; i < r.rows; ++i, x += r.row_bytes, out += r.pitch) load(x, out);
}

void load_rows(const RowLoad& r) {
  if (r.from == DType::bf16) {
    return load_each_row(r, [&](const std::byte* x, float* out) {
      load_halves(reinterpret_cast<const std::uint16_t*>(x), r.width, out,
                  [](H h) { return from_bf16(h); });
    });
  }
  load_each_row(r, [&](const std::byte* x, float* out) { load_row(r.from, x, r.width, out); });
}

void store_rows(const RowStore& r) {
  const float* x = r.x;
  auto* out = static_cast<std::byte*>(r.out);
  for (std::int64_t i = 0; i < r.rows; ++i, x += r.pitch, out += r.row_bytes) {
    store_row(r.to, x, r.width, out);
  }
}

// Rows of W pairs of neighbours, turned as lanes of 32 bits; then lower and upper halves go apart.
void turn_rows(const RowTurn& r) {
  const auto* x = static_cast<const std::byte*>(r.x);
  auto* out = static_cast<std::byte*>(r.out);
  for (std::int64_t first = 0; first < r.filled; first += W) {
    for (std::int64_t d = 0; d < r.width; d += 2 * W) {
      const std::int64_t wide = r.width - d < 2 * W ? r.width - d : 2 * W;
      F m[W];
      for (std::int64_t i = 0; i < W; ++i) {
        m[i] = F{};
        const std::byte* from = x + (first + i) * r.row_bytes + d * 2;
        if (first + i >= r.rows) continue;
        if (wide == 2 * W) {
          __builtin_memcpy(&m[i], from, sizeof(F));  // rows of halves: aligned to two bytes
        } else {
          __builtin_memcpy(&m[i], from, static_cast<std::size_t>(wide) * 2);
        }
      }
      transpose(m);
      std::byte* to = out + d * r.out_bytes + first * 2;
      for (std::int64_t j = 0; j < wide; ++j, to += r.out_bytes) {
        const U pairs = bits(m[j / 2]);
        *reinterpret_cast<LooseH*>(to) =
            __builtin_convertvector(j % 2 ? pairs >> 16 : pairs & 0xffffu, H);
      }
    }
  }
}

void activate_row(Act act, float* x, std::int64_t n) {
  using Index = std::int64_t;
  switch (act) {
    case Act::gelu_tanh:
      return for_each_vector(x, n, [](F v, Index, Index) { return gelu_tanh(v); });
    case Act::gelu_erf:
      return for_each_vector(x, n, [](F v, Index, Index) { return gelu_erf(v); });
    case Act::silu:
      return for_each_vector(x, n, [](F v, Index, Index) { return silu(v); });
    case Act::none:
      return;
  }
}

void add_row(float* x, const float* y, std::int64_t n) {
  for_each_vector(x, n, [=](F v, std::int64_t i, std::int64_t c) { return v + at(y, i, c); });
}

void multiply_row(float* x, const float* y, std::int64_t n) {
  for_each_vector(x, n, [=](F v, std::int64_t i, std::int64_t c) { return v * at(y, i, c); });
}

void scale_row(float* x, float factor, std::int64_t n) {
  for_each_vector(x, n, [=](F v, std::int64_t, std::int64_t) { return v * factor; });
}

void add_scaled_row(float* x, const float* y, float factor, std::int64_t n) {
  for_each_vector(x, n,
                  [=](F v, std::int64_t i, std::int64_t c) { return v + factor * at(y, i, c); });
}

// One vector, or the first n elements of one, of a row of any type.
TENDON_INLINE F load_as(DType type, const void* p, std::int64_t i, std::int64_t n) {
  if (type == DType::f32) return at(static_cast<const float*>(p), i, n);
  const auto* halves = static_cast<const std::uint16_t*>(p) + i;
  H h{};
  if (n == W) {
    h = *reinterpret_cast<const LooseH*>(halves);
  } else {
    __builtin_memcpy(&h, halves, static_cast<std::size_t>(n) * 2);
  }
  return type == DType::bf16 ? from_bf16(h) : from_f16(h);
}

TENDON_INLINE void store_as(DType type, F v, void* p, std::int64_t i, std::int64_t n) {
  if (type == DType::f32) {
    float* to = static_cast<float*>(p) + i;
    return n == W ? store(to, v) : store_part(to, v, n);
  }
  const H h = type == DType::bf16 ? to_bf16(v) : to_f16(v);
  auto* to = static_cast<std::uint16_t*>(p) + i;
  if (n == W) {
    *reinterpret_cast<LooseH*>(to) = h;
  } else {
    __builtin_memcpy(to, &h, static_cast<std::size_t>(n) * 2);
  }
}

template <class Activate>
TENDON_INLINE void finish_with(const FinishRow& row, Activate activate) {
  const FinishRow r = row;
  const auto piece = [=](std::int64_t i, std::int64_t n) {
    F v = at(r.x, i, n);
    if (r.bias) v += at(r.bias, i, n);
    v = activate(v);
    if (r.up) v *= at(r.up, i, n);
    if (r.gate) v *= at(r.gate, i, n);
    if (r.residual) v += load_as(r.residual_type, r.residual, i, n);
    store_as(r.out_type, v, r.out, i, n);
  };
  std::int64_t i = 0;
  for (; i + W <= r.width; i += W) piece(i, W);
  if (i < r.width) piece(i, r.width - i);
}

void finish_row(const FinishRow& row) {
  switch (row.act) {
    case Act::gelu_tanh:
      return finish_with(row, [](F v) { return gelu_tanh(v); });
    case Act::gelu_erf:
      return finish_with(row, [](F v) { return gelu_erf(v); });
    case Act::silu:
      return finish_with(row, [](F v) { return silu(v); });
    case Act::none:
      return finish_with(row, [](F v) { return v; });
  }
}

TENDON_INLINE float mean_of(const float* x, std::int64_t n) {
  F s{};
  std::int64_t i = 0;
  for (; i + W <= n; i += W) s += load(x + i);
  if (i < n) s += load_part(x + i, n - i);
  return sum(s) / static_cast<float>(n);
}

TENDON_INLINE float mean_square(const float* x, std::int64_t n, float centre) {
  F s{}, s1{};
  std::int64_t i = 0;
  for (; i + 2 * W <= n; i += 2 * W) {
    const F v = load(x + i) - centre, w = load(x + i + W) - centre;
    s += v * v;
    s1 += w * w;
  }
  float rest = 0;
  for (; i < n; ++i) rest += (x[i] - centre) * (x[i] - centre);
  return (sum(s + s1) + rest) / static_cast<float>(n);
}

void normalise_row(const NormRow& row) {
  const float centre = row.centred ? mean_of(row.x, row.width) : 0.0f;
  const float factor = 1.0f / __builtin_sqrtf(mean_square(row.x, row.width, centre) + row.eps);
  const NormRow r = row;
  for_each_vector(row.x, row.width, [=](F v, std::int64_t i, std::int64_t c) {
    v = (v - centre) * factor;
    if (r.weight) v = v * (r.weight_offset + at(r.weight, i, c));
    if (r.bias) v = v + at(r.bias, i, c);
    if (r.scale) v = v * (1.0f + at(r.scale, i, c));
    if (r.shift) v = v + at(r.shift, i, c);
    return v;
  });
}

void rotate_row(ops::RopeStyle style, float* x, const float* cos, const float* sin,
                std::int64_t half) {
  if (style == ops::RopeStyle::split_half) {
    float* y = x + half;
    std::int64_t i = 0;
    for (; i + W <= half; i += W) {
      const F a = load(x + i), b = load(y + i), c = load(cos + i), s = load(sin + i);
      store(x + i, a * c - b * s);
      store(y + i, b * c + a * s);
    }
    for (; i < half; ++i) {
      const float a = x[i], b = y[i];
      x[i] = a * cos[i] - b * sin[i];
      y[i] = b * cos[i] + a * sin[i];
    }
    return;
  }
  for (std::int64_t i = 0; i < half; ++i) {
    const float a = x[2 * i], b = x[2 * i + 1];
    x[2 * i] = a * cos[i] - b * sin[i];
    x[2 * i + 1] = b * cos[i] + a * sin[i];
  }
}
