#include "wire/message.h"

#include <algorithm>
#include <array>
#include <msgpack/null_visitor.hpp>
#include <msgpack/unpack.hpp>

#include "base/error.h"

namespace tendon::wire {
namespace {

// Length of the UTF-8 sequence at `at`, 0 where it is none.
std::size_t sequence(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const unsigned char first = byte(0);
  const std::size_t size = first < 0x80   ? 1
                           : first < 0xc2 ? 0
                           : first < 0xe0 ? 2
                           : first < 0xf0 ? 3
                           : first < 0xf5 ? 4
                                          : 0;
  if (size == 0 || at + size > text.size()) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const bool overlong = (first == 0xe0 && byte(1) < 0xa0) || (first == 0xf0 && byte(1) < 0x90);
  const bool beyond = (first == 0xed && byte(1) > 0x9f) || (first == 0xf4 && byte(1) > 0x8f);
  return overlong || beyond ? 0 : size;
}

bool is_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t size = sequence(text, at);
    if (size == 0) return false;
    at += size;
  }
  return true;
}

// Called by the parser for each value, in order.
struct Builder : msgpack::null_visitor {
  explicit Builder(std::vector<Node>& all) : nodes(all) {}

  bool leaf(const Node& node) {
    if (!room()) return false;
    nodes.push_back(node);
    nodes.back().end = static_cast<std::uint32_t>(nodes.size());
    return true;
  }
  bool room() {
    if (nodes.size() < Message::kMaxNodes) return true;
    return refuse("more than 65536 values");
  }
  bool refuse(const char* why) {
    reason = why;
    return false;
  }
  bool visit_nil() { return leaf({.kind = Node::Kind::nil}); }
  bool visit_boolean(bool v) { return leaf({.kind = Node::Kind::boolean, .integer = v}); }
  bool visit_positive_integer(std::uint64_t v) {
    if (v > INT64_MAX) return visit_float64(static_cast<double>(v));
    return visit_negative_integer(static_cast<std::int64_t>(v));
  }
  bool visit_negative_integer(std::int64_t v) {
    return leaf({.kind = Node::Kind::integer, .integer = v, .real = static_cast<double>(v)});
  }
  bool visit_float32(float v) { return visit_float64(v); }
  bool visit_float64(double v) { return leaf({.kind = Node::Kind::real, .real = v}); }
  bool visit_str(const char* v, std::uint32_t size) {
    if (!is_utf8({v, size})) return refuse("text that is not UTF-8");
    return leaf({.kind = Node::Kind::text, .view = {v, size}});
  }
  bool visit_bin(const char* v, std::uint32_t size) {
    return leaf({.kind = Node::Kind::bytes, .view = {v, size}});
  }
  bool visit_ext(const char*, std::uint32_t) { return refuse("an ext type"); }
  bool start(Node::Kind kind) {
    if (depth == Message::kMaxDepth) return refuse("nested deeper than 16");
    if (!room()) return false;
    open[depth++] = static_cast<std::uint32_t>(nodes.size());
    nodes.push_back({.kind = kind});
    return true;
  }
  bool finish() {
    nodes[open[--depth]].end = static_cast<std::uint32_t>(nodes.size());
    return true;
  }
  bool start_array(std::uint32_t) { return start(Node::Kind::array); }
  bool end_array() { return finish(); }
  bool start_map(std::uint32_t) { return start(Node::Kind::map); }
  bool end_map() { return finish(); }
  bool start_map_key() {
    key = nodes.size();
    return true;
  }
  bool end_map_key() {
    const Node::Kind kind = nodes[key].kind;
    return kind == Node::Kind::text || kind == Node::Kind::bytes || refuse("a key that is no text");
  }
  void parse_error(std::size_t, std::size_t) { reason = "a byte that starts no value"; }
  void insufficient_bytes(std::size_t, std::size_t) { reason = "the message ends too early"; }

  std::vector<Node>& nodes;
  std::array<std::uint32_t, Message::kMaxDepth> open{};
  std::size_t depth = 0, key = 0;
  const char* reason = nullptr;
};

}  // namespace

void Message::parse(std::span<const std::byte> bytes) {
  nodes_.clear();
  Builder builder(nodes_);
  std::size_t used = 0;
  const bool parsed =
      msgpack::parse(reinterpret_cast<const char*>(bytes.data()), bytes.size(), used, builder);
  if (!parsed || builder.reason != nullptr) {
    throw EncodingError(fmt::format("msgpack: {}, near byte {} of {}",
                                    builder.reason ? builder.reason : "no value", used,
                                    bytes.size()));
  }
  if (used != bytes.size()) {
    throw EncodingError(fmt::format("msgpack: {} bytes follow the message", bytes.size() - used));
  }
}

const Node* Message::find(const Node& map, std::string_view key) const {
  const Node* found = nullptr;
  for (std::uint32_t i = index(map) + 1; i < map.end; i = nodes_[nodes_[i].end].end) {
    if (nodes_[i].view == key) found = &nodes_[nodes_[i].end];
  }
  return found;
}

}  // namespace tendon::wire
