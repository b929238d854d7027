// Writes msgpack as msgpack-numpy does: numpy values as maps with bin keys, in its order.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>

#include "tendon/arrays.h"

namespace tendon::wire {

class Encoder {
 public:
  Encoder& map(std::uint32_t pairs);
  Encoder& array(std::uint32_t elements);
  Encoder& text(std::string_view value);
  Encoder& bytes(std::string_view value);
  Encoder& integer(std::int64_t value);
  Encoder& real(double value);  // always eight bytes
  Encoder& boolean(std::same_as<bool> auto value) { return truth(value ? 1 : 0); }
  Encoder& nil();
  // `data`: dense, C order.
  Encoder& ndarray(std::string_view dtype, std::span<const std::int64_t> shape,
                   std::string_view data);
  Encoder& ndarray(ArrayType type, std::span<const std::int64_t> shape, const void* data);
  // Of a numpy scalar: the value must follow, then generic_end.
  Encoder& generic_begin();
  Encoder& generic_end(std::string_view dtype);
  // Plain values; whole numbers become integers, so that [0, -1.5] stays what Python would write.
  Encoder& json(const nlohmann::ordered_json& value);

  void clear() { out_.clear(); }
  const std::string& str() const { return out_; }

 private:
  Encoder& truth(int value);
  std::string out_;
};

}  // namespace tendon::wire
