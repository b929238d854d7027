#include "support/values.h"

#include <cstring>

#include "base/error.h"
#include "base/half.h"

namespace tendon::support {

std::uint64_t name_hash(std::string_view name) {
  std::uint64_t h = 0xcbf29ce484222325u;
  for (char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return h;
}

float unit(std::uint64_t hash, std::int64_t i) {
  std::uint64_t z = hash + (static_cast<std::uint64_t>(i) + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  z ^= z >> 31;
  return static_cast<float>(z >> 40) * 0x1p-23f - 1.0f;
}

std::vector<float> units(std::string_view name, std::int64_t count) {
  const std::uint64_t hash = name_hash(name);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) values[static_cast<std::size_t>(i)] = unit(hash, i);
  return values;
}

std::vector<std::byte> encoded(DType dtype, const std::vector<float>& values) {
  std::vector<std::byte> bytes(values.size() * size_of(dtype));
  const auto put = [&](auto convert) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto x = convert(values[i]);
      std::memcpy(bytes.data() + i * sizeof x, &x, sizeof x);
    }
  };
  switch (dtype) {
    case DType::f32:
      put([](float v) { return v; });
      break;
    case DType::bf16:
      put(f32_to_bf16);
      break;
    case DType::f16:
      put(f32_to_f16);
      break;
    case DType::i32:
      put([](float v) { return static_cast<std::int32_t>(v); });
      break;
    case DType::u8:
      put([](float v) { return static_cast<std::uint8_t>(v); });
      break;
    default:
      fail("test values: {} is not written", name(dtype));
  }
  return bytes;
}

std::vector<std::int64_t> elements(const ValueInfo& view) {
  std::vector<std::int64_t> all{view.offset};
  for (int d = 0; d < view.shape.rank(); ++d) {
    std::vector<std::int64_t> next;
    next.reserve(all.size() * static_cast<std::size_t>(view.shape[d]));
    for (std::int64_t at : all) {
      for (std::int64_t i = 0; i < view.shape[d]; ++i) {
        next.push_back(at + i * view.strides[static_cast<std::size_t>(d)]);
      }
    }
    all = std::move(next);
  }
  return all;
}

std::vector<float> dense(const ValueInfo& view, const std::vector<std::byte>& bytes) {
  const std::vector<std::int64_t> where = elements(view);
  std::vector<float> values(where.size());
  const auto get = [&](auto sample, auto convert) {
    for (std::size_t i = 0; i < where.size(); ++i) {
      auto x = sample;
      std::memcpy(&x, bytes.data() + static_cast<std::size_t>(where[i]) * sizeof x, sizeof x);
      values[i] = convert(x);
    }
  };
  switch (view.dtype) {
    case DType::f32:
      get(0.0f, [](float v) { return v; });
      break;
    case DType::bf16:
      get(std::uint16_t{}, bf16_to_f32);
      break;
    case DType::f16:
      get(std::uint16_t{}, f16_to_f32);
      break;
    case DType::i32:
      get(std::int32_t{}, [](std::int32_t v) { return static_cast<float>(v); });
      break;
    case DType::u8:
      get(std::uint8_t{}, [](std::uint8_t v) { return static_cast<float>(v); });
      break;
    default:
      fail("test values: {} is not read", name(view.dtype));
  }
  return values;
}

}  // namespace tendon::support
