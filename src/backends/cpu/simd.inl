// Vectors of W floats by the compiler's own extension, and what fp32 kernels need of them. Included
// inside the anonymous namespace of each instruction set's file, so that no symbol is shared
// between them; W is TENDON_VECTOR_WIDTH. Nothing of the standard library is instantiated here for
// that reason.

constexpr int W = TENDON_VECTOR_WIDTH;
typedef float F __attribute__((vector_size(W * 4)));
typedef std::int32_t I __attribute__((vector_size(W * 4)));
typedef std::uint32_t U __attribute__((vector_size(W * 4)));
typedef std::uint16_t H __attribute__((vector_size(W * 2)));
typedef float LooseF __attribute__((vector_size(W * 4), aligned(4), may_alias));
typedef std::uint32_t LooseU __attribute__((vector_size(W * 4), aligned(4), may_alias));
typedef std::uint16_t LooseH __attribute__((vector_size(W * 2), aligned(2), may_alias));

#define TENDON_INLINE __attribute__((always_inline)) inline

TENDON_INLINE F splat(float x) { return x - F{}; }  // minus 0: exact, so folded away
TENDON_INLINE F load(const float* p) { return *reinterpret_cast<const LooseF*>(p); }
TENDON_INLINE void store(float* p, F v) { *reinterpret_cast<LooseF*>(p) = v; }
TENDON_INLINE F bits(U u) { return reinterpret_cast<F>(u); }
TENDON_INLINE U bits(F f) { return reinterpret_cast<U>(f); }
// a > b ? a : b and a < b ? a : b; as an expression GCC compares and blends, four cycles for one.
#if TENDON_VECTOR_WIDTH == 16
TENDON_INLINE F larger(F a, F b) { return _mm512_max_ps(a, b); }
TENDON_INLINE F smaller(F a, F b) { return _mm512_min_ps(a, b); }
#elif TENDON_VECTOR_WIDTH == 8
TENDON_INLINE F larger(F a, F b) { return _mm256_max_ps(a, b); }
TENDON_INLINE F smaller(F a, F b) { return _mm256_min_ps(a, b); }
#else
TENDON_INLINE F larger(F a, F b) { return a > b ? a : b; }
TENDON_INLINE F smaller(F a, F b) { return a < b ? a : b; }
#endif

// The first n < W elements, zeros behind them.
TENDON_INLINE F load_part(const float* p, std::int64_t n) {
  F v{};
  __builtin_memcpy(&v, p, static_cast<std::size_t>(n) * 4);
  return v;
}
TENDON_INLINE void store_part(float* p, F v, std::int64_t n) {
  __builtin_memcpy(p, &v, static_cast<std::size_t>(n) * 4);
}

TENDON_INLINE float sum(F v) {
  float s = 0;
  for (int i = 0; i < W; ++i) s += v[i];
  return s;
}

// Lane j of vector i changes places with lane i of vector j: for each power of two h, the W/2
// blocks beside the diagonal.
template <int kHalf>
TENDON_INLINE void transpose_step(F (&m)[W]) {
  I low{}, high{};
  for (int j = 0; j < W; ++j) {
    low[j] = j & kHalf ? W + j - kHalf : j;
    high[j] = j & kHalf ? W + j : j + kHalf;
  }
#pragma GCC unroll 16
  for (int i = 0; i < W; ++i) {
    if (i & kHalf) continue;
    const F a = m[i], b = m[i + kHalf];
    m[i] = __builtin_shuffle(a, b, low);
    m[i + kHalf] = __builtin_shuffle(a, b, high);
  }
}
TENDON_INLINE void transpose(F (&m)[W]) {
  if constexpr (W > 8) transpose_step<W / 2>(m);
  if constexpr (W > 4) transpose_step<4>(m);
  transpose_step<2>(m);
  transpose_step<1>(m);
}

TENDON_INLINE F from_bf16(H h) { return bits(__builtin_convertvector(h, U) << 16); }
// bf16 in the upper half of a lane, nothing below.
TENDON_INLINE U bf16_above(F f) {
  const U u = bits(f);
  const U rounded = u + 0x7fffu + ((u >> 16) & 1u);
  const U nan = reinterpret_cast<U>((u & 0x7fffffffu) > 0x7f800000u);
  return ((rounded & ~nan) | ((u | 0x400000u) & nan)) & 0xffff0000u;
}
TENDON_INLINE H to_bf16(F f) { return __builtin_convertvector(bf16_above(f) >> 16, H); }

TENDON_INLINE F from_f16(H h) {
  F f;
#if TENDON_VECTOR_WIDTH == 16
  f = _mm512_cvtph_ps(reinterpret_cast<__m256i>(h));
#elif TENDON_VECTOR_WIDTH == 8
  f = _mm256_cvtph_ps(reinterpret_cast<__m128i>(h));
#else
  for (int i = 0; i < W; ++i) f[i] = f16_to_f32(h[i]);
#endif
  return f;
}
TENDON_INLINE H to_f16(F f) {
#if TENDON_VECTOR_WIDTH == 16
  return reinterpret_cast<H>(_mm512_cvtps_ph(f, _MM_FROUND_TO_NEAREST_INT));
#elif TENDON_VECTOR_WIDTH == 8
  return reinterpret_cast<H>(_mm256_cvtps_ph(f, _MM_FROUND_TO_NEAREST_INT));
#else
  H h;
  for (int i = 0; i < W; ++i) h[i] = f32_to_f16(f[i]);
  return h;
#endif
}

// e^x to 3 ulp for x in [-87.3, 88.3]: 2^n e^r, |r| <= ln2 / 2, with the polynomial of degree 5
// that errs least (1.05e-7 relative, by Lawson's iteration).
TENDON_INLINE F exponential_within(F x) {
  const F magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const F shifted = x * 1.44269504f + magic;
  const F n = shifted - magic;
  const F r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  F p = r * 0.008312507532536983f + 0.04189034178853035f;
  p = p * r + 0.16667115688323975f;
  p = p * r + 0.499992311000824f;
  p = p * (r * r) + r + 1.0f;
  return bits(bits(p) + (bits(shifted) << 23));
}

// Past the ends it stays at 1.8e-35, whose products with values are no denormals, and 2.4e38.
TENDON_INLINE F exponential_below_zero(F x) { return exponential_within(larger(x, splat(-80.0f))); }
TENDON_INLINE F exponential(F x) { return exponential_below_zero(smaller(x, splat(88.37f))); }

TENDON_INLINE F silu(F x) { return x / (1.0f + exponential(-x)); }

// 0.5 x (1 + tanh u) = x / (1 + e^-2u), u = sqrt(2/pi) (x + 0.044715 x^3).
TENDON_INLINE F gelu_tanh(F x) {
  const F u = x * (x * x * 0.044715f + 1.0f);
  return x / (1.0f + exponential(u * -1.5957691216057308f));
}

// erfc(z), z >= 0, to 1e-6 relative (Cephes ndtrf.c).
TENDON_INLINE F complementary_error(F z) {
  const F y = z * z;
  F t = splat(7.853861353153693e-5f);
  t = t * y - 8.010193625184903e-4f;
  t = t * y + 5.188327685732524e-3f;
  t = t * y - 2.685381193529856e-2f;
  t = t * y + 1.128358514861418e-1f;
  t = t * y - 3.761262582423300e-1f;
  t = t * y + 1.128379165726710f;
  const F near = 1.0f - z * t;
  const F q = 1.0f / larger(z, splat(0.5f));
  const F w = q * q;
  F p = splat(2.326819970068386e-2f);
  p = p * w - 1.387039388740657e-1f;
  p = p * w + 3.687424674597105e-1f;
  p = p * w - 5.824733027278666e-1f;
  p = p * w + 6.210004621745983e-1f;
  p = p * w - 4.944515323274145e-1f;
  p = p * w + 3.404879937665872e-1f;
  p = p * w - 2.741127028184656e-1f;
  p = p * w + 5.638259427386472e-1f;
  F r = splat(-1.047766399936249e1f);
  r = r * w + 1.297719955372516e1f;
  r = r * w - 7.495518717768503f;
  r = r * w + 2.921019019210786f;
  r = r * w - 1.015265279202700f;
  r = r * w + 4.218463358204948e-1f;
  r = r * w - 2.820767439740514e-1f;
  r = r * w + 5.641895067754075e-1f;
  const F far = exponential_below_zero(-y) * q * (z < splat(2.0f) ? p : r);
  return z < splat(1.0f) ? near : far;
}

// 0.5 x (1 + erf(x / sqrt 2)), by erfc so that the negative side keeps its relative accuracy.
TENDON_INLINE F gelu_erf(F x) {
  const F z = (x < F{} ? -x : x) * 0.70710678118f;
  const F tail = 0.5f * complementary_error(z);
  return x * (x < F{} ? tail : 1.0f - tail);
}
