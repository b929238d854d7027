#include "wire/ndarray.h"

#include <charconv>

#include "base/error.h"
#include "base/text.h"

namespace tendon::wire {
namespace {

template <class... Args>
[[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) {
  throw EncodingError(fmt::format(format, std::forward<Args>(args)...));
}

struct NumberRow {
  char kind;
  std::size_t size;
  ArrayType type;
  std::string_view name;
};
constexpr NumberRow kNumbers[] = {
    {'b', 1, ArrayType::boolean, "|b1"}, {'u', 1, ArrayType::u8, "|u1"},
    {'i', 1, ArrayType::i8, "|i1"},      {'u', 2, ArrayType::u16, "<u2"},
    {'i', 2, ArrayType::i16, "<i2"},     {'u', 4, ArrayType::u32, "<u4"},
    {'i', 4, ArrayType::i32, "<i4"},     {'u', 8, ArrayType::u64, "<u8"},
    {'i', 8, ArrayType::i64, "<i8"},     {'f', 2, ArrayType::f16, "<f2"},
    {'f', 4, ArrayType::f32, "<f4"},     {'f', 8, ArrayType::f64, "<f8"},
};

// Elements of a shape; refused where the product leaves size_t's half.
std::size_t read_shape(const Message& message, const Node* node, Ndarray& array) {
  if (node == nullptr || node->kind != Node::Kind::array) refuse("ndarray: \"shape\" is no array");
  std::size_t count = 1;
  for (std::uint32_t i = message.index(*node) + 1; i < node->end; i = message.nodes()[i].end) {
    const Node& extent = message.nodes()[i];
    if (array.rank == 8) refuse("ndarray: more than 8 axes");
    if (extent.kind != Node::Kind::integer || extent.integer < 0 || extent.integer > INT32_MAX) {
      refuse("ndarray: an extent is none in [0, 2147483647]");
    }
    array.shape[static_cast<std::size_t>(array.rank++)] = extent.integer;
    if (__builtin_mul_overflow(count, static_cast<std::size_t>(extent.integer), &count)) {
      refuse("ndarray: the shape overflows");
    }
  }
  return count;
}

void append_code_point(std::uint32_t code, std::string& out) {
  if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
    refuse("ndarray: U+{:X} in a text array", code);
  }
  const auto put = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) return put(code);
  if (code < 0x800) {
    put(0xc0 | (code >> 6));
  } else {
    if (code < 0x10000) {
      put(0xe0 | (code >> 12));
    } else {
      put(0xf0 | (code >> 18));
      put(0x80 | ((code >> 12) & 0x3f));
    }
    put(0x80 | ((code >> 6) & 0x3f));
  }
  put(0x80 | (code & 0x3f));
}

std::string from_utf32(std::string_view data, ByteOrder order) {
  std::string out;
  for (std::size_t i = 0; i + 4 <= data.size(); i += 4) {
    std::uint32_t code = 0;
    for (std::size_t b = 0; b < 4; ++b) {
      const std::size_t from = order == ByteOrder::little ? 3 - b : b;
      code = code << 8 | static_cast<unsigned char>(data[i + from]);
    }
    append_code_point(code, out);
  }
  out.resize(out.find_last_not_of('\0') + 1);  // numpy pads with NUL
  return out;
}

}  // namespace

Element parse_element(std::string_view dtype) {
  const auto bad = [&]() {
    refuse("ndarray: elements of dtype {} are not taken", printable(dtype));
  };
  if (dtype.size() < 3) bad();
  Element element;
  const char order = dtype[0], kind = dtype[1];
  if (order == '>') element.order = ByteOrder::big;
  if (order != '<' && order != '>' && order != '|' && order != '=') bad();
  if (kind == 'M' || kind == 'm') {  // "<M8[D]"
    if (dtype[2] != '8') bad();
    element.kind = Element::Kind::time;
    element.size = 8;
    return element;
  }
  std::uint32_t size = 0;
  const char* end = dtype.data() + dtype.size();
  const auto read = std::from_chars(dtype.data() + 2, end, size);
  if (read.ec != std::errc() || read.ptr != end) bad();
  if (kind == 'U' || kind == 'S') {
    element.kind = kind == 'U' ? Element::Kind::text : Element::Kind::bytes;
    element.size = std::size_t{size} * (kind == 'U' ? 4 : 1);
    return element;
  }
  for (const NumberRow& row : kNumbers) {
    if (row.kind != kind || row.size != size) continue;
    element.type = row.type;
    element.size = size;
    return element;
  }
  bad();
  return element;
}

std::string_view element_name(ArrayType type) {
  return kNumbers[static_cast<std::size_t>(type)].name;
}

ArrayView Ndarray::view() const {
  return {.data = data.data(),
          .type = element.type,
          .shape = std::span(shape).first(static_cast<std::size_t>(rank)),
          .strides = {},
          .order = element.order};
}

std::optional<Ndarray> as_ndarray(const Message& message, const Node& map) {
  if (map.kind != Node::Kind::map || message.find(map, "__ndarray__") == nullptr) {
    return std::nullopt;
  }
  Ndarray array;
  const Node* dtype = message.find(map, "dtype");
  if (dtype == nullptr || (dtype->kind != Node::Kind::text && dtype->kind != Node::Kind::bytes)) {
    refuse("ndarray: \"dtype\" is no text");
  }
  array.element = parse_element(dtype->view);
  const Node* data = message.find(map, "data");
  if (data == nullptr || data->kind != Node::Kind::bytes) refuse("ndarray: \"data\" is no bin");
  array.data = data->view;
  const std::size_t count = read_shape(message, message.find(map, "shape"), array);
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(count, array.element.size, &bytes) || bytes != array.data.size()) {
    refuse("ndarray: {} elements of {} bytes are wanted, {} bytes came", count, array.element.size,
           array.data.size());
  }
  return array;
}

const Node* as_generic(const Message& message, const Node& map) {
  if (map.kind != Node::Kind::map || message.find(map, "__npgeneric__") == nullptr) return nullptr;
  const Node* data = message.find(map, "data");
  if (data == nullptr || data->kind == Node::Kind::map || data->kind == Node::Kind::array) {
    refuse("npgeneric: \"data\" is no scalar");
  }
  return data;
}

std::optional<std::string> as_text(const Ndarray& array) {
  const bool text = array.element.kind == Element::Kind::text;
  if (!text && array.element.kind != Element::Kind::bytes) return std::nullopt;
  if (array.data.size() != array.element.size) return std::nullopt;  // not one element
  if (text) return from_utf32(array.data, array.element.order);
  const std::size_t size = array.data.find_last_not_of('\0') + 1;
  return std::string(array.data.substr(0, size));
}

}  // namespace tendon::wire
