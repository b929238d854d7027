#include "base/npy.h"

#include <charconv>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "base/mmap.h"
#include "base/text.h"

namespace tendon {
namespace {

struct Code {
  DType dtype;
  std::string_view text;
};
constexpr Code kCodes[] = {{DType::f32, "<f4"}, {DType::f64, "<f8"}, {DType::i32, "<i4"},
                           {DType::i64, "<i8"}, {DType::u8, "|u1"},  {DType::boolean, "|b1"}};

// The text after `'key':` in the header's dictionary, leading blanks removed.
std::string_view field(std::string_view header, std::string_view key, std::string_view what) {
  const std::string quoted = "'" + std::string(key) + "':";
  const std::size_t at = header.find(quoted);
  require(at != header.npos, "{}: the npy header has no {}", what, key);
  header.remove_prefix(at + quoted.size());
  while (!header.empty() && header.front() == ' ') header.remove_prefix(1);
  return header;
}

DType parse_descr(std::string_view text, std::string_view what) {
  for (const Code& c : kCodes) {
    if (text.substr(0, 1) == "'" && text.substr(1, c.text.size()) == c.text) return c.dtype;
  }
  fail("{}: element type {} is not read; save it as float32, float64, int32, int64, uint8 or bool",
       what, printable(text.substr(0, 8)));
}

Shape parse_shape(std::string_view text, std::string_view what) {
  const std::size_t close = text.find(')');
  require(!text.empty() && text.front() == '(' && close != text.npos,
          "{}: the npy header has no shape", what);
  const char* p = text.data() + 1;
  const char* const end = text.data() + close;
  Shape shape;
  while (p < end) {
    if (*p == ' ' || *p == ',') {
      ++p;
      continue;
    }
    std::int64_t extent = -1;
    const auto [next, error] = std::from_chars(p, end, extent);
    require(error == std::errc() && extent >= 0 && shape.rank() < Shape::kMaxRank,
            "{}: the npy shape is not one of up to {} dimensions", what, Shape::kMaxRank);
    shape.push_back(extent);
    p = next;
  }
  return shape;
}

std::size_t checked_bytes(const Shape& shape, DType dtype, std::size_t limit) {
  std::size_t n = size_of(dtype);
  for (const std::int64_t e : shape) {
    if (e != 0 && n > limit / static_cast<std::size_t>(e)) return limit + 1;
    n *= static_cast<std::size_t>(e);
  }
  return n;
}

template <class T>
std::vector<float> converted(std::span<const std::byte> bytes) {
  std::vector<float> out(bytes.size() / sizeof(T));
  for (std::size_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    out[i] = static_cast<float>(value);
  }
  return out;
}

}  // namespace

std::vector<float> NpyArray::to_f32() const {
  switch (dtype) {
    case DType::f32:
      return converted<float>(bytes);
    case DType::f64:
      return converted<double>(bytes);
    case DType::i32:
      return converted<std::int32_t>(bytes);
    case DType::i64:
      return converted<std::int64_t>(bytes);
    case DType::u8:
    case DType::boolean:
      return converted<std::uint8_t>(bytes);
    default:
      fail("npy: {} is not an npy type", name(dtype));
  }
}

NpyArray parse_npy(std::span<const std::byte> file, std::string_view what) {
  constexpr std::string_view kMagic = "\x93NUMPY";
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  require(text.size() >= 12 && text.substr(0, 6) == kMagic, "{}: not an npy file", what);
  const unsigned version = static_cast<unsigned char>(text[6]);
  require(version >= 1 && version <= 3, "{}: npy version {} is not read", what, version);
  const std::size_t width = version == 1 ? 2 : 4;
  std::size_t length = 0;
  for (std::size_t i = 0; i < width; ++i) {
    length |= static_cast<std::size_t>(static_cast<unsigned char>(text[8 + i])) << (8 * i);
  }
  const std::size_t start = 8 + width + length;
  require(length <= text.size() && start <= text.size(), "{}: cut off inside the npy header", what);
  const std::string_view header = text.substr(8 + width, length);
  require(field(header, "fortran_order", what).substr(0, 5) == "False",
          "{}: Fortran order is not read; save numpy.ascontiguousarray of it", what);

  NpyArray array;
  array.dtype = parse_descr(field(header, "descr", what), what);
  array.shape = parse_shape(field(header, "shape", what), what);
  const std::size_t have = text.size() - start;
  require(checked_bytes(array.shape, array.dtype, have) == have,
          "{}: {} bytes of data do not fill {} of {}", what, have, array.shape.str(),
          name(array.dtype));
  array.bytes.assign(file.begin() + static_cast<std::ptrdiff_t>(start), file.end());
  return array;
}

NpyArray read_npy(const std::filesystem::path& path) {
  const MappedFile file(path);
  return parse_npy(file.bytes(), path.string());
}

void write_npy(const std::filesystem::path& path, const Tensor& tensor) {
  require(tensor.dense(), "{}: only dense tensors are written", path.string());
  std::string_view code;
  for (const Code& c : kCodes) {
    if (c.dtype == tensor.dtype) code = c.text;
  }
  require(!code.empty(), "{}: npy has no {}", path.string(), name(tensor.dtype));
  std::string extents;
  for (const std::int64_t e : tensor.shape) extents += std::to_string(e) + ", ";
  if (tensor.shape.rank() > 1) extents.resize(extents.size() - 2);
  if (tensor.shape.rank() == 1) extents.pop_back();
  std::string header =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", code, extents);
  header.resize((10 + header.size() + 1 + 63) / 64 * 64 - 10 - 1, ' ');
  header += '\n';
  std::string file("\x93NUMPY\x01\x00", 8);
  file += static_cast<char>(header.size() & 0xff);
  file += static_cast<char>(header.size() >> 8);
  file += header;
  file.append(reinterpret_cast<const char*>(tensor.data),
              static_cast<std::size_t>(tensor.shape.numel()) * size_of(tensor.dtype));
  write_file(path, file);
}

}  // namespace tendon
