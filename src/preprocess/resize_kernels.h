// Inner loops of the byte resize, one build per instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tendon::resize_detail {

// Fixed-point triangle filter of one axis: output i reads taps[i * width ..] from source
// `first[i]`.
struct Taps {
  const std::int32_t* first = nullptr;
  const std::int32_t* count = nullptr;
  const std::int32_t* weight = nullptr;  // 22 fractional bits, `width` per output, zeros at the end
  // The same in halves of 11 bits, two neighbours in one number, `width` / 2 per output.
  const std::int32_t *high = nullptr, *low = nullptr;
  int outputs = 0, width = 0, inputs = 0;  // width: a multiple of 4
};

// Rows of RGB bytes [inputs * 3] -> [outputs * 3].
struct ColumnPass {
  const std::uint8_t* in;
  std::ptrdiff_t in_stride;
  std::uint8_t* out;
  std::ptrdiff_t out_stride;
  int rows;
};
void columns(const ColumnPass& pass, const Taps& taps);
// Rows of `bytes` bytes, `stride` apart.
struct RowSource {
  const std::uint8_t* data;
  std::ptrdiff_t stride;
  int bytes;
};
// Output row i.
void rows(const RowSource& in, const Taps& taps, int i, std::uint8_t* out);

// The same built for AVX2; call only where the processor has it.
void columns_avx2(const ColumnPass& pass, const Taps& taps);
void rows_avx2(const RowSource& in, const Taps& taps, int i, std::uint8_t* out);

}  // namespace tendon::resize_detail
