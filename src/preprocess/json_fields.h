// Reading a JSON object field by field: wrong types and unknown names are refused with the place
// named.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace tendon {

template <class E>
using EnumNames = std::span<const std::pair<E, std::string_view>>;

// Names of the enumerations of a contract; every value has one.
template <class E>
EnumNames<E> enum_names();

template <class E>
std::string_view enum_name(E value) {
  for (const auto& [v, name] : enum_names<E>()) {
    if (v == value) return name;
  }
  return "?";
}

class Fields {
 public:
  Fields(const nlohmann::json& object, std::string where)
      : object_(object), where_(std::move(where)) {
    require(object.is_object(), "{}: wanted a JSON object", where_);
  }

  // The value of `key`, or null where it is absent.
  const nlohmann::json* find(const char* key) {
    known_.insert(key);
    const auto at = object_.find(key);
    return at == object_.end() ? nullptr : &*at;
  }
  // Leaves `out` as it is where the key is absent.
  template <class T>
  void read(const char* key, T& out) {
    if (const nlohmann::json* value = find(key)) convert(*value, place(key), out);
  }
  std::string place(std::string_view key) const { return where_ + "." + std::string(key); }
  void ignore(const char* key) { known_.insert(key); }
  // Call after the last read().
  void refuse_unknown() const {
    for (const auto& [key, value] : object_.items()) {
      require(known_.count(key) != 0, "{}: field \"{}\" is unknown", where_, printable(key));
    }
  }

  static void convert(const nlohmann::json& value, const std::string& where, std::string& out) {
    require(value.is_string(), "{}: wanted text", where);
    out = value.get<std::string>();
  }
  static void convert(const nlohmann::json& value, const std::string& where, bool& out) {
    require(value.is_boolean(), "{}: wanted true or false", where);
    out = value.get<bool>();
  }
  static void convert(const nlohmann::json& value, const std::string& where, double& out) {
    require(value.is_number(), "{}: wanted a number", where);
    out = value.get<double>();
    require(std::isfinite(out), "{}: wanted a finite number", where);
  }
  static void convert(const nlohmann::json& value, const std::string& where, std::int64_t& out) {
    require(
        value.is_number_integer() &&
            (!value.is_number_unsigned() ||
             value.get<std::uint64_t>() <= std::uint64_t{std::numeric_limits<std::int64_t>::max()}),
        "{}: wanted a whole number", where);
    out = value.get<std::int64_t>();
  }
  static void convert(const nlohmann::json& value, const std::string& where, int& out) {
    std::int64_t wide = 0;
    convert(value, where, wide);
    require(wide >= -(1 << 24) && wide <= (1 << 24), "{}: {} is out of bounds", where, wide);
    out = static_cast<int>(wide);
  }
  template <class T>
  static void convert(const nlohmann::json& value, const std::string& where, std::vector<T>& out) {
    require(value.is_array() && value.size() <= 65536, "{}: wanted a list", where);
    out.clear();
    for (const nlohmann::json& item : value) convert(item, where, out.emplace_back());
  }
  template <class T>
  static void convert(const nlohmann::json& value, const std::string& where,
                      std::optional<T>& out) {
    if (value.is_null()) {
      out.reset();
    } else {
      convert(value, where, out.emplace());
    }
  }
  template <class E>
  requires std::is_enum_v<E>
  static void convert(const nlohmann::json& value, const std::string& where, E& out) {
    require(value.is_string(), "{}: wanted text", where);
    const auto text = value.get<std::string>();
    std::string names;
    for (const auto& [v, name] : enum_names<E>()) {
      if (name == text) {
        out = v;
        return;
      }
      names += (names.empty() ? "" : ", ") + std::string(name);
    }
    fail("{}: \"{}\" is unknown; there are {}", where, printable(text), names);
  }

 private:
  const nlohmann::json& object_;
  std::string where_;
  std::set<std::string> known_;
};

}  // namespace tendon
