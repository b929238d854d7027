#include <immintrin.h>

#include <cstddef>
#include <cstring>

#include "preprocess/resize_kernels.h"

namespace tendon::resize_detail {

namespace {

constexpr std::int32_t kHalf = 1 << 21;

// Eight sums with 22 fractional bits -> eight bytes in the low half.
__m128i to_bytes(__m256i sum) {
  const __m256i shifted = _mm256_srai_epi32(sum, 22);
  const __m128i words =
      _mm_packs_epi32(_mm256_castsi256_si128(shifted), _mm256_extracti128_si256(shifted, 1));
  return _mm_packus_epi16(words, words);
}

__m128i load4(const std::uint8_t* p) {
  std::int32_t v;
  std::memcpy(&v, p, 4);
  return _mm_cvtsi32_si128(v);
}

// Pixels k and k+1 side by side, each as four 32-bit lanes of which three count.
__m256i two_pixels(const std::uint8_t* p) {
  const __m128i pair = _mm_unpacklo_epi32(load4(p), load4(p + 3));
  return _mm256_cvtepu8_epi32(pair);
}

}  // namespace

// Reads up to one byte past a pixel, so the last pixels of a row go through the plain loop.
void columns_avx2(const std::uint8_t* in, const Taps& taps, std::uint8_t* out) {
  const __m256i spread = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
  int i = 0;
  for (; i < taps.outputs - 1; ++i) {
    const int count = (taps.count[i] + 1) & ~1;
    if (taps.first[i] + count >= taps.inputs) break;
    const std::uint8_t* pixel = in + std::ptrdiff_t{taps.first[i]} * 3;
    const std::int32_t* weight = taps.weight + std::ptrdiff_t{i} * taps.width;
    __m256i sum = _mm256_setzero_si256();
    for (int k = 0; k < count; k += 2, pixel += 6) {
      const __m128i pair = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(weight + k));
      const __m256i w = _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(pair), spread);
      sum = _mm256_add_epi32(sum, _mm256_mullo_epi32(two_pixels(pixel), w));
    }
    const __m128i both =
        _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    const __m128i shifted = _mm_srai_epi32(_mm_add_epi32(both, _mm_set1_epi32(kHalf)), 22);
    const __m128i words = _mm_packs_epi32(shifted, shifted);
    const std::int32_t bytes = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
    std::memcpy(out + std::ptrdiff_t{i} * 3, &bytes, 4);  // the fourth byte is overwritten next
  }
  const Taps rest{taps.first + i,   taps.count + i, taps.weight + std::ptrdiff_t{i} * taps.width,
                  taps.outputs - i, taps.width,     taps.inputs};
  columns(in, rest, out + std::ptrdiff_t{i} * 3);
}

void rows_avx2(const RowSource& in, const Taps& taps, int i, std::uint8_t* out) {
  const std::uint8_t* first = in.data + taps.first[i] * in.stride;
  const std::int32_t* weight = taps.weight + std::ptrdiff_t{i} * taps.width;
  int x = 0;
  for (; x + 8 <= in.bytes; x += 8) {
    __m256i sum = _mm256_set1_epi32(kHalf);
    for (int k = 0; k < taps.count[i]; ++k) {
      const auto* p = reinterpret_cast<const __m128i*>(first + k * in.stride + x);
      const __m256i pixels = _mm256_cvtepu8_epi32(_mm_loadl_epi64(p));
      sum = _mm256_add_epi32(sum, _mm256_mullo_epi32(pixels, _mm256_set1_epi32(weight[k])));
    }
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out + x), to_bytes(sum));
  }
  if (x < in.bytes) rows({in.data + x, in.stride, in.bytes - x}, taps, i, out + x);
}

}  // namespace tendon::resize_detail
