// Named arrays, as numpy, msgpack or C hold them, to an Observation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "tendon/tendon.h"

namespace tendon {

enum class ArrayType : std::uint8_t {
  boolean,
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  u64,
  i64,
  f16,
  f32,
  f64
};
constexpr std::size_t item_size(ArrayType type) {
  constexpr std::uint8_t kSizes[] = {1, 1, 1, 2, 2, 4, 4, 8, 8, 2, 4, 8};
  return kSizes[static_cast<std::size_t>(type)];
}
// numpy's name.
constexpr std::string_view name(ArrayType type) {
  constexpr std::string_view kNames[] = {"bool",  "uint8",   "int8",    "uint16",
                                         "int16", "uint32",  "int32",   "uint64",
                                         "int64", "float16", "float32", "float64"};
  return kNames[static_cast<std::size_t>(type)];
}

enum class ByteOrder : std::uint8_t { little, big };

// An array that the caller owns; elements need no alignment.
struct ArrayView {
  const void* data = nullptr;
  ArrayType type = ArrayType::u8;
  std::span<const std::int64_t> shape;    // empty: a scalar
  std::span<const std::int64_t> strides;  // bytes between neighbours of each axis; empty: dense
  ByteOrder order = ByteOrder::little;
};

// Collects what a robot sent under the contract's keys (PolicyInfo::inputs and aliases). Keys of
// nested maps are joined by '/': "images/cam_high". Pictures: u8 or floats (trunc(255 x) modulo
// 256), [h,w,3] or [3,h,w] as PolicyInfo::Channels says; u8 [h,w,3] with dense rows is not copied.
// Vectors: any type, at most one axis longer than 1. A key that comes twice: the last one counts.
// Throws Error with one sentence. One thread at a time; keeps its memory between observations.
class ObservationBuilder {
 public:
  explicit ObservationBuilder(const PolicyInfo& info);  // copies what it needs
  ~ObservationBuilder();
  ObservationBuilder(ObservationBuilder&&) noexcept;
  ObservationBuilder& operator=(ObservationBuilder&&) noexcept;

  void clear();
  void add(std::string_view key, const ArrayView& array);
  // UTF-8 under "prompt" or "task"; under another key it is counted as unknown.
  void add_text(std::string_view key, std::string_view text);
  // A key whose value is neither array nor text.
  void add_other(std::string_view key);

  // Whether an array of this key is taken, or taken and not used.
  bool takes(std::string_view key) const;
  // Keys that this policy does not take, as they came; for callers that refuse them.
  std::span<const std::string> unknown() const;

  // What was added since clear(); refused where a required key is missing. Valid until clear() and
  // while the arrays live.
  const Observation& observation();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tendon
