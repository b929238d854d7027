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

constexpr int kRows = 4;  // at once: they share the weights

// Two numbers, each in the four 32-bit lanes of one half.
__m256i each_half(const std::int32_t* p) {
  const __m128i pair = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(pair),
                                     _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1));
}

// Four pixels: red, green, blue of the first two as 16-bit neighbours in the low half, of the other
// two in the high one. Reads 16 bytes.
__m256i four_pixels(const std::uint8_t* p) {
  const __m256i order =
      _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,  //
                       6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), order);
}

// The sums of both halves of the weights -> red, green, blue.
__m128i settled(__m256i high, __m256i low) {
  const __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(high, 11), low);
  const __m128i both = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  return _mm_srai_epi32(_mm_add_epi32(both, _mm_set1_epi32(kHalf)), 22);
}

// Output i of kRows rows. Writes a fourth byte behind each pixel.
void column_of_rows(const ColumnPass& rows, const Taps& taps, int i) {
  const std::uint8_t* pixel = rows.in + std::ptrdiff_t{taps.first[i]} * 3;
  const std::int32_t* high = taps.high + std::ptrdiff_t{i} * taps.width / 2;
  const std::int32_t* low = taps.low + std::ptrdiff_t{i} * taps.width / 2;
  __m256i high_sum[kRows] = {}, low_sum[kRows] = {};
  for (int k = 0; k < taps.count[i]; k += 4, pixel += 12) {
    const __m256i h = each_half(high + k / 2), l = each_half(low + k / 2);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const __m256i pixels = four_pixels(pixel + r * rows.in_stride);
      high_sum[r] = _mm256_add_epi32(high_sum[r], _mm256_madd_epi16(pixels, h));
      low_sum[r] = _mm256_add_epi32(low_sum[r], _mm256_madd_epi16(pixels, l));
    }
  }
  const __m128i words01 =
      _mm_packs_epi32(settled(high_sum[0], low_sum[0]), settled(high_sum[1], low_sum[1]));
  const __m128i words23 =
      _mm_packs_epi32(settled(high_sum[2], low_sum[2]), settled(high_sum[3], low_sum[3]));
  alignas(16) std::uint8_t bytes[16];
  _mm_store_si128(reinterpret_cast<__m128i*>(bytes), _mm_packus_epi16(words01, words23));
  for (int r = 0; r < kRows; ++r) {
    std::memcpy(rows.out + r * rows.out_stride + std::ptrdiff_t{i} * 3, bytes + 4 * r, 4);
  }
}

}  // namespace

// The last pixels of a row go through the plain loop: what is read and written past them is not its
// own.
void columns_avx2(const ColumnPass& pass, const Taps& taps) {
  int inner = 0;
  const auto reads_end = [&](int i) {
    return 3 * (taps.first[i] + (taps.count[i] + 3) / 4 * 4) + 4;
  };
  while (inner < taps.outputs - 1 && reads_end(inner) <= 3 * taps.inputs) ++inner;
  const int whole = pass.rows / kRows * kRows;
  ColumnPass rows = pass;
  rows.rows = kRows;
  for (int y = 0; y < whole; y += kRows) {
    rows.in = pass.in + y * pass.in_stride;
    rows.out = pass.out + y * pass.out_stride;
    for (int i = 0; i < inner; ++i) column_of_rows(rows, taps, i);
  }
  Taps rest = taps;
  rest.first += inner, rest.count += inner, rest.outputs -= inner;
  rest.weight += std::ptrdiff_t{inner} * taps.width;
  columns({pass.in, pass.in_stride, pass.out + std::ptrdiff_t{inner} * 3, pass.out_stride, whole},
          rest);
  columns({pass.in + whole * pass.in_stride, pass.in_stride, pass.out + whole * pass.out_stride,
           pass.out_stride, pass.rows - whole},
          taps);
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
