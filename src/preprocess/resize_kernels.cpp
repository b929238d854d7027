#include "preprocess/resize_kernels.h"

#include <algorithm>
#include <cstddef>

namespace tendon::resize_detail {

namespace {

constexpr std::int32_t kHalf = 1 << 21;

std::uint8_t to_byte(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> 22, 0, 255));
}

}  // namespace

void columns(const ColumnPass& pass, const Taps& taps) {
  for (int y = 0; y < pass.rows; ++y) {
    const std::uint8_t* in = pass.in + y * pass.in_stride;
    std::uint8_t* out = pass.out + y * pass.out_stride;
    for (int i = 0; i < taps.outputs; ++i) {
      const std::uint8_t* pixel = in + std::ptrdiff_t{taps.first[i]} * 3;
      const std::int32_t* weight = taps.weight + std::ptrdiff_t{i} * taps.width;
      std::int32_t r = kHalf, g = kHalf, b = kHalf;
      for (int k = 0; k < taps.count[i]; ++k, pixel += 3) {
        r += pixel[0] * weight[k];
        g += pixel[1] * weight[k];
        b += pixel[2] * weight[k];
      }
      out[3 * i] = to_byte(r);
      out[3 * i + 1] = to_byte(g);
      out[3 * i + 2] = to_byte(b);
    }
  }
}

void rows(const RowSource& in, const Taps& taps, int i, std::uint8_t* out) {
  const std::uint8_t* first = in.data + taps.first[i] * in.stride;
  const std::int32_t* weight = taps.weight + std::ptrdiff_t{i} * taps.width;
  for (int x = 0; x < in.bytes; ++x) {
    std::int32_t sum = kHalf;
    for (int k = 0; k < taps.count[i]; ++k) sum += first[k * in.stride + x] * weight[k];
    out[x] = to_byte(sum);
  }
}

}  // namespace tendon::resize_detail
