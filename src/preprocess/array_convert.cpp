#include "preprocess/array_convert.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "base/text.h"

namespace tendon {
namespace {

static_assert(std::endian::native == std::endian::little);

// One element of `Bits`' size, brought to this machine's order.
template <class T>
T element(const std::byte* at, ByteOrder order) {
  std::byte bytes[sizeof(T)];
  std::memcpy(bytes, at, sizeof(T));
  if (order == ByteOrder::big) std::reverse(bytes, bytes + sizeof(T));
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

double number(const std::byte* at, const ArrayView& a) {
  switch (a.type) {
    case ArrayType::boolean:
      return element<std::uint8_t>(at, a.order) != 0;
    case ArrayType::u8:
      return element<std::uint8_t>(at, a.order);
    case ArrayType::i8:
      return element<std::int8_t>(at, a.order);
    case ArrayType::u16:
      return element<std::uint16_t>(at, a.order);
    case ArrayType::i16:
      return element<std::int16_t>(at, a.order);
    case ArrayType::u32:
      return element<std::uint32_t>(at, a.order);
    case ArrayType::i32:
      return element<std::int32_t>(at, a.order);
    case ArrayType::u64:
      return static_cast<double>(element<std::uint64_t>(at, a.order));
    case ArrayType::i64:
      return static_cast<double>(element<std::int64_t>(at, a.order));
    case ArrayType::f16:
      return f16_to_f32(element<std::uint16_t>(at, a.order));
    case ArrayType::f32:
      return element<float>(at, a.order);
    case ArrayType::f64:
      return element<double>(at, a.order);
  }
  return 0;
}

// Bytes between neighbours of each axis.
std::vector<std::int64_t> strides_of(std::string_view key, const ArrayView& a) {
  if (!a.strides.empty()) {
    require(a.strides.size() == a.shape.size(), "{}: {} strides for {} axes", printable(key),
            a.strides.size(), a.shape.size());
    return {a.strides.begin(), a.strides.end()};
  }
  std::vector<std::int64_t> strides(a.shape.size());
  auto step = static_cast<std::int64_t>(item_size(a.type));
  for (std::size_t i = a.shape.size(); i-- > 0;) {
    strides[i] = step;
    step *= a.shape[i];
  }
  return strides;
}

// Where the rows, columns and colours of a picture stand.
struct Layout {
  int height = 0, width = 0;
  std::int64_t row = 0, column = 0, colour = 0;  // bytes
};

bool colours_first(std::string_view key, const ArrayView& a, PolicyInfo::Channels channels) {
  const bool first = a.shape[0] == 3, last = a.shape[2] == 3;
  const char* wanted = channels == PolicyInfo::Channels::first  ? "[3,h,w]"
                       : channels == PolicyInfo::Channels::last ? "[h,w,3]"
                                                                : "[h,w,3] or [3,h,w]";
  const bool fits = channels == PolicyInfo::Channels::first  ? first
                    : channels == PolicyInfo::Channels::last ? last
                                                             : first || last;
  require(fits, "picture {}: {} is wanted, {} came", printable(key), wanted, describe(a));
  return channels == PolicyInfo::Channels::first ||
         (channels == PolicyInfo::Channels::either && !last);
}

Layout picture_layout(std::string_view key, const ArrayView& a, PolicyInfo::Channels channels) {
  require(a.shape.size() == 3, "picture {}: three axes are wanted, {} came", printable(key),
          describe(a));
  const bool first = colours_first(key, a, channels);
  constexpr std::int64_t kSide = 16384, kPixels = std::int64_t{1} << 26;
  const std::int64_t height = a.shape[first ? 1 : 0], width = a.shape[first ? 2 : 1];
  require(height > 0 && width > 0 && height <= kSide && width <= kSide &&
              height * width <= kPixels && a.data != nullptr,
          "picture {}: {} is no picture", printable(key), describe(a));
  const std::vector<std::int64_t> s = strides_of(key, a);
  return {static_cast<int>(height), static_cast<int>(width), s[first ? 1 : 0], s[first ? 2 : 1],
          s[first ? 0 : 2]};
}

void gather_bytes(const std::byte* from, const Layout& l, std::uint8_t* out) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(from);
  for (int y = 0; y < l.height; ++y) {
    const std::uint8_t* in = bytes + y * l.row;
    for (int x = 0; x < l.width; ++x, in += l.column, out += 3) {
      out[0] = in[0];
      out[1] = in[l.colour];
      out[2] = in[2 * l.colour];
    }
  }
}

// trunc(v) modulo 256, as a cast of the original does.
std::uint8_t byte_of(double v, std::string_view key) {
  require(std::abs(v) < 1e9, "picture {}: a value of {} is none in [0,1]", printable(key), v / 255);
  return static_cast<std::uint8_t>(static_cast<std::int64_t>(v));
}

// `scaled` reads an element and multiplies it by 255 in the element's own type, as numpy does.
template <class Scaled>
void gather_floats(std::string_view key, const ArrayView& a, const Layout& l, Scaled scaled,
                   std::uint8_t* out) {
  for (int y = 0; y < l.height; ++y) {
    const auto* in = static_cast<const std::byte*>(a.data) + y * l.row;
    for (int x = 0; x < l.width; ++x, in += l.column) {
      for (int c = 0; c < 3; ++c) *out++ = byte_of(scaled(in + c * l.colour), key);
    }
  }
}

float scaled_half(const std::byte* at, ByteOrder order) {
  return f16_to_f32(f32_to_f16(f16_to_f32(element<std::uint16_t>(at, order)) * 255.0f));
}

}  // namespace

std::string describe(const ArrayView& array) {
  std::string text = fmt::format("{} [", name(array.type));
  for (std::size_t i = 0; i < array.shape.size() && i < 8; ++i) {
    text += fmt::format("{}{}", i ? "," : "", array.shape[i]);
  }
  return text + "]";
}

void read_numbers(std::string_view key, const ArrayView& array, std::size_t limit,
                  std::vector<double>& values) {
  std::int64_t count = 1, axes = 0, step = 0;
  const std::vector<std::int64_t> strides = strides_of(key, array);
  for (std::size_t i = 0; i < array.shape.size(); ++i) {
    if (array.shape[i] == 1) continue;
    require(++axes == 1, "{}: one axis is wanted, {} came", printable(key), describe(array));
    count = array.shape[i];
    step = strides[i];
  }
  require(count >= 0 && static_cast<std::uint64_t>(count) <= limit &&
              (count == 0 || array.data != nullptr),
          "{}: at most {} numbers are wanted, {} came", printable(key), limit, describe(array));
  values.resize(static_cast<std::size_t>(count));
  const auto* at = static_cast<const std::byte*>(array.data);
  for (std::size_t i = 0; i < values.size(); ++i, at += step) {
    values[i] = number(at, array);
    require(std::isfinite(values[i]), "{}: entry {} is not finite", printable(key), i);
  }
}

Image read_picture(std::string_view key, const ArrayView& a, PolicyInfo::Channels channels,
                   std::vector<std::uint8_t>& pixels) {
  const Layout l = picture_layout(key, a, channels);
  const auto* data = static_cast<const std::byte*>(a.data);
  const std::int64_t dense = std::int64_t{l.width} * 3;
  if (a.type == ArrayType::u8 && l.colour == 1 && l.column == 3 && l.row >= dense) {
    return {static_cast<const std::uint8_t*>(a.data), l.height, l.width,
            static_cast<std::size_t>(l.row)};
  }
  pixels.resize(static_cast<std::size_t>(l.height * dense));
  std::uint8_t* out = pixels.data();
  const ByteOrder order = a.order;
  switch (a.type) {
    case ArrayType::u8:
      gather_bytes(data, l, out);
      break;
    case ArrayType::f16:
      gather_floats(
          key, a, l, [&](const std::byte* p) { return scaled_half(p, order); }, out);
      break;
    case ArrayType::f32:
      gather_floats(
          key, a, l, [&](const std::byte* p) { return element<float>(p, order) * 255.0f; }, out);
      break;
    case ArrayType::f64:
      gather_floats(
          key, a, l, [&](const std::byte* p) { return element<double>(p, order) * 255.0; }, out);
      break;
    default:
      fail("picture {}: uint8 or floats in [0,1] are wanted, {} came", printable(key), describe(a));
  }
  return {out, l.height, l.width, static_cast<std::size_t>(dense)};
}

}  // namespace tendon
