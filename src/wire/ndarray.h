// numpy's values inside a message: maps with the keys __ndarray__ or __npgeneric__.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "tendon/arrays.h"
#include "wire/message.h"

namespace tendon::wire {

// numpy's description of an element: "<f4", "|u1", "<U10".
struct Element {
  enum class Kind : std::uint8_t { number, text, bytes, time };
  Kind kind = Kind::number;
  ArrayType type = ArrayType::u8;  // of a number
  std::size_t size = 1;            // bytes
  ByteOrder order = ByteOrder::little;
};
// Throws EncodingError: complex, object, structured and unknown kinds.
Element parse_element(std::string_view dtype);
std::string_view element_name(ArrayType type);  // "<f4"

// An array inside a message; `data` points into its bytes.
struct Ndarray {
  Element element;
  int rank = 0;
  std::array<std::int64_t, 8> shape{};
  std::string_view data;
  ArrayView view() const;  // of numbers; points into this
};

// Of a map node; nullopt: an ordinary map. Throws EncodingError: shape, dtype and data contradict
// each other or are missing.
std::optional<Ndarray> as_ndarray(const Message& message, const Node& map);

// The scalar of an npgeneric map, or null.
const Node* as_generic(const Message& message, const Node& map);

// Text of a 0-d or one-element array of text or bytes; nullopt: it holds something else.
std::optional<std::string> as_text(const Ndarray& array);

}  // namespace tendon::wire
