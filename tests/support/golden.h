// Reads recorded goldens in tests: safetensors data by name, and their JSON. Trusts its files.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/half.h"
#include "base/hash.h"
#include "base/rng.h"

namespace tendon::golden {

struct Array {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::string bytes;

  std::int64_t size() const {
    std::int64_t n = 1;
    for (auto d : shape) n *= d;
    return n;
  }
  template <class T>
  std::vector<T> as() const {  // the stored type, unconverted
    EXPECT_EQ(bytes.size(), size() * sizeof(T));
    std::vector<T> out(bytes.size() / sizeof(T));
    std::memcpy(out.data(), bytes.data(), out.size() * sizeof(T));
    return out;
  }
  std::vector<double> numbers() const {
    std::vector<double> out;
    auto widen = [&](auto sample) {
      for (auto v : as<decltype(sample)>()) out.push_back(static_cast<double>(v));
    };
    if (dtype == "F64") widen(double{});
    if (dtype == "F32") widen(float{});
    if (dtype == "I64") widen(std::int64_t{});
    if (dtype == "I32") widen(std::int32_t{});
    if (dtype == "U8") widen(std::uint8_t{});
    if (dtype == "BF16") {
      for (auto v : as<std::uint16_t>()) out.push_back(bf16_to_f32(v));
    }
    return out;
  }
};

struct Absolute {};

class File {
 public:
  // "pi05_cases": NAME.safetensors and NAME.json of the golden folder.
  explicit File(const std::string& name)
      : File(std::string(TENDON_GOLDEN_DIR) + "/" + name, Absolute{}) {}
  File(const std::string& base, Absolute) {
    std::ifstream data(base + ".safetensors", std::ios::binary), text(base + ".json");
    std::uint64_t size = 0;
    data.read(reinterpret_cast<char*>(&size), 8);
    std::string header(size, '\0');
    data.read(header.data(), static_cast<std::streamsize>(size));
    tensors_ = nlohmann::json::parse(header);
    bytes_.assign(std::istreambuf_iterator<char>(data), {});
    json = nlohmann::json::parse(text);
  }
  Array operator[](const std::string& name) const {
    const auto& entry = tensors_.at(name);
    const std::size_t begin = entry["data_offsets"][0], end = entry["data_offsets"][1];
    return {entry["dtype"], entry["shape"], bytes_.substr(begin, end - begin)};
  }
  bool has(const std::string& name) const { return tensors_.contains(name); }

  nlohmann::json json;

 private:
  nlohmann::json tensors_;
  std::string bytes_;
};

// Generated inputs of the recorded cases.
inline std::vector<float> unit_values(const std::string& name, std::size_t count, float scale = 1) {
  std::vector<float> out(count);
  const std::uint64_t h = fnv1a64(name);
  for (std::size_t i = 0; i < count; ++i) out[i] = unit_from_bits(synthetic_bits(h, i)) * scale;
  return out;
}
inline std::vector<std::uint8_t> byte_values(const std::string& name, std::size_t count) {
  std::vector<std::uint8_t> out(count);
  const std::uint64_t h = fnv1a64(name);
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = static_cast<std::uint8_t>(synthetic_bits(h, i) >> 56);
  }
  return out;
}

}  // namespace tendon::golden
