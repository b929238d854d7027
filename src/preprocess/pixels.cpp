#include "preprocess/pixels.h"

#include <cmath>

#include "base/error.h"
#include "base/half.h"

namespace tendon {

PixelTable pixel_table(const ImageRules& rules) {
  PixelTable table;
  for (int c = 0; c < 3; ++c) {
    const float mean = static_cast<float>(rules.mean[c]), std = static_cast<float>(rules.std[c]);
    for (int p = 0; p < 256; ++p) {
      const float byte = static_cast<float>(p);
      switch (rules.pixels) {
        case PixelRule::unit:
          table[c][p] = byte / 255.0f * 2.0f - 1.0f;
          break;
        case PixelRule::two_over_255:
          table[c][p] = byte * static_cast<float>(2.0 / 255.0) - 1.0f;
          break;
        case PixelRule::standardised:
          table[c][p] = (byte / 255.0f - mean) / std;
          break;
      }
    }
  }
  return table;
}

PixelTable pixel_table_bf16(const ImageRules& rules) {
  PixelTable table = pixel_table(rules);
  for (auto& channel : table) {
    for (int p = 0; p < 256; ++p) {
      if (rules.pixels == PixelRule::two_over_255) {
        channel[p] = round_bf16(static_cast<float>(p) * static_cast<float>(2.0 / 255.0)) - 1.0f;
      }
      channel[p] = round_bf16(channel[p]);
    }
  }
  return table;
}

void to_values(const ImageView& in, const PixelTable& table, float* out) {
  const float *red = table[0].data(), *green = table[1].data(), *blue = table[2].data();
  for (int y = 0; y < in.height; ++y) {
    const std::uint8_t* p = in.row(y);
    for (int x = 0; x < in.width; ++x, p += 3, out += 3) {
      out[0] = red[p[0]];
      out[1] = green[p[1]];
      out[2] = blue[p[2]];
    }
  }
}

void rotate_half(const ImageView& in, std::uint8_t* out) {
  for (int y = in.height - 1; y >= 0; --y) {
    const std::uint8_t* p = in.row(y) + std::ptrdiff_t{in.width - 1} * 3;
    for (int x = 0; x < in.width; ++x, p -= 3, out += 3) {
      out[0] = p[0];
      out[1] = p[1];
      out[2] = p[2];
    }
  }
}

ChannelsAt channels_at(const int shape[3], ChannelOrder order, std::string_view key) {
  const bool first = shape[0] == 3, last = shape[2] == 3;
  if (order == ChannelOrder::first) {
    require(first, "image {}: this contract wants channels first, [3,h,w]; [{},{},{}] came", key,
            shape[0], shape[1], shape[2]);
    return ChannelsAt::first;
  }
  if (order == ChannelOrder::last || last) {
    require(last, "image {}: this contract wants channels last, [h,w,3]; [{},{},{}] came", key,
            shape[0], shape[1], shape[2]);
    return ChannelsAt::last;
  }
  require(first, "image {}: wanted [h,w,3] or [3,h,w]; [{},{},{}] came", key, shape[0], shape[1],
          shape[2]);
  return ChannelsAt::first;
}

void planes_to_rows(const std::uint8_t* in, int height, int width, std::uint8_t* out) {
  const std::ptrdiff_t plane = std::ptrdiff_t{height} * width;
  for (std::ptrdiff_t i = 0; i < plane; ++i) {
    out[3 * i] = in[i];
    out[3 * i + 1] = in[plane + i];
    out[3 * i + 2] = in[2 * plane + i];
  }
}

namespace {

template <class T>
void to_bytes(const T* in, std::size_t count, std::uint8_t* out, std::string_view key) {
  for (std::size_t i = 0; i < count; ++i) {
    const T scaled = in[i] * T{255};
    require(std::abs(scaled) < T{1e9}, "image {}: value {} at {} is no picture in [0,1]", key,
            in[i], i);
    out[i] = static_cast<std::uint8_t>(static_cast<std::int64_t>(scaled));
  }
}

}  // namespace

void floats_to_bytes(const float* in, std::size_t count, std::uint8_t* out, std::string_view key) {
  to_bytes(in, count, out, key);
}
void floats_to_bytes(const double* in, std::size_t count, std::uint8_t* out, std::string_view key) {
  to_bytes(in, count, out, key);
}

}  // namespace tendon
