#include "wire/encoder.h"

#include <cmath>
#include <msgpack/pack.hpp>
#include <nlohmann/json.hpp>

#include "wire/ndarray.h"

namespace tendon::wire {
namespace {

struct Stream {
  std::string& out;
  void write(const char* data, std::size_t size) { out.append(data, size); }
};

// One packer a call: it holds nothing but the stream.
template <class Pack>
void pack(std::string& out, Pack put) {
  Stream stream{out};
  msgpack::packer<Stream> packer(stream);
  put(packer);
}

}  // namespace

Encoder& Encoder::map(std::uint32_t pairs) {
  pack(out_, [&](auto& p) { p.pack_map(pairs); });
  return *this;
}

Encoder& Encoder::array(std::uint32_t elements) {
  pack(out_, [&](auto& p) { p.pack_array(elements); });
  return *this;
}

Encoder& Encoder::text(std::string_view value) {
  pack(out_, [&](auto& p) {
    const auto size = static_cast<std::uint32_t>(value.size());
    p.pack_str(size).pack_str_body(value.data(), size);
  });
  return *this;
}

Encoder& Encoder::bytes(std::string_view value) {
  pack(out_, [&](auto& p) {
    const auto size = static_cast<std::uint32_t>(value.size());
    p.pack_bin(size).pack_bin_body(value.data(), size);
  });
  return *this;
}

Encoder& Encoder::integer(std::int64_t value) {
  pack(out_, [&](auto& p) { p.pack_int64(value); });
  return *this;
}

Encoder& Encoder::real(double value) {
  // The packer would write a whole number as an integer.
  out_ += static_cast<char>(0xcb);
  const auto bits = std::bit_cast<std::uint64_t>(value);
  for (int shift = 56; shift >= 0; shift -= 8) out_ += static_cast<char>(bits >> shift);
  return *this;
}

Encoder& Encoder::truth(int value) {
  pack(out_, [&](auto& p) { value ? p.pack_true() : p.pack_false(); });
  return *this;
}

Encoder& Encoder::nil() {
  pack(out_, [](auto& p) { p.pack_nil(); });
  return *this;
}

Encoder& Encoder::ndarray(std::string_view dtype, std::span<const std::int64_t> shape,
                          std::string_view data) {
  map(4).bytes("__ndarray__").boolean(true);
  bytes("data").bytes(data);
  bytes("dtype").text(dtype);
  bytes("shape").array(static_cast<std::uint32_t>(shape.size()));
  for (const std::int64_t extent : shape) integer(extent);
  return *this;
}

Encoder& Encoder::ndarray(ArrayType type, std::span<const std::int64_t> shape, const void* data) {
  std::size_t size = item_size(type);
  for (const std::int64_t extent : shape) size *= static_cast<std::size_t>(extent);
  return ndarray(element_name(type), shape, {static_cast<const char*>(data), size});
}

Encoder& Encoder::generic_begin() {
  return map(3).bytes("__npgeneric__").boolean(true).bytes("data");
}

Encoder& Encoder::generic_end(std::string_view dtype) { return bytes("dtype").text(dtype); }

Encoder& Encoder::json(const nlohmann::ordered_json& value) {
  if (value.is_object()) {
    map(static_cast<std::uint32_t>(value.size()));
    for (const auto& [key, child] : value.items()) text(key).json(child);
  } else if (value.is_array()) {
    array(static_cast<std::uint32_t>(value.size()));
    for (const auto& child : value) json(child);
  } else if (value.is_string()) {
    text(value.get_ref<const std::string&>());
  } else if (value.is_boolean()) {
    boolean(value.get<bool>());
  } else if (value.is_number()) {
    const double number = value.get<double>();
    const bool whole = std::floor(number) == number && std::abs(number) < 1e15;
    whole ? integer(static_cast<std::int64_t>(number)) : real(number);
  } else {
    nil();
  }
  return *this;
}

}  // namespace tendon::wire
