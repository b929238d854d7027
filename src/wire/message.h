// A msgpack message as a flat tree that points into the bytes it came in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "tendon/error.h"

namespace tendon::wire {

// The bytes are no message of this protocol: one sentence.
class EncodingError : public Error {
 public:
  using Error::Error;
};

// A value. Children of an array are its elements, of a map key, value, key, value, ...; they stand
// behind it, each with its own descendants: the next sibling of node i is nodes[i].end.
struct Node {
  enum class Kind : std::uint8_t { nil, boolean, integer, real, text, bytes, array, map };
  Kind kind = Kind::nil;
  std::uint32_t end = 0;     // index behind the last descendant
  std::int64_t integer = 0;  // integer; boolean: 0 or 1; beyond int64: held in `real`, kind real
  double real = 0;
  std::string_view view;  // text, bytes
};

class Message {
 public:
  static constexpr std::size_t kMaxNodes = 65536, kMaxDepth = 16;

  // One value that fills all of `bytes`, which must outlive the message. Memory stays within
  // kMaxNodes whatever lengths the bytes claim. Throws EncodingError: truncated, trailing bytes,
  // ext types, invalid UTF-8, nested too deep, too many values.
  void parse(std::span<const std::byte> bytes);

  std::span<const Node> nodes() const { return nodes_; }
  const Node& root() const { return nodes_.front(); }
  // Value of a key (text or bytes) of a map, the last where there are several; null: absent.
  const Node* find(const Node& map, std::string_view key) const;
  std::uint32_t index(const Node& node) const {
    return static_cast<std::uint32_t>(&node - nodes_.data());
  }

 private:
  std::vector<Node> nodes_;
};

}  // namespace tendon::wire
