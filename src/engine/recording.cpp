#include "engine/recording.h"

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "base/hash.h"
#include "base/json_file.h"
#include "base/rng.h"

namespace tendon {

using nlohmann::json;

namespace {

float element(const StoredTensor& t, std::size_t i) {
  auto get = [&]<class T>(T) {
    T v;
    std::memcpy(&v, t.bytes.data() + i * sizeof(T), sizeof(T));
    return v;
  };
  switch (t.dtype) {
    case DType::f32:
      return get(float{});
    case DType::f64:
      return static_cast<float>(get(double{}));
    case DType::bf16:
      return bf16_to_f32(get(std::uint16_t{}));
    case DType::f16:
      return f16_to_f32(get(std::uint16_t{}));
    case DType::i32:
      return static_cast<float>(get(std::int32_t{}));
    case DType::i64:
      return static_cast<float>(get(std::int64_t{}));
    case DType::u8:
    case DType::boolean:
      return static_cast<float>(get(std::uint8_t{}));
  }
  return 0;
}

Shape shape_from(const json& extents) {
  Shape shape;
  for (const json& e : extents) shape.push_back(e.get<std::int64_t>());
  return shape;
}

// Nested lists, row-major.
void flatten(const json& values, int depth, RecordedInput& to) {
  if (!values.is_array()) {
    to.values.push_back(values.is_boolean() ? static_cast<float>(values.get<bool>())
                                            : values.get<float>());
    return;
  }
  if (to.shape.rank() == depth) to.shape.push_back(static_cast<std::int64_t>(values.size()));
  for (const json& v : values) flatten(v, depth + 1, to);
}

void round_to(const std::string& dtype, std::vector<float>& values) {
  require(dtype == "bf16" || dtype == "bfloat16", "recording: inputs rounded to {}", dtype);
  for (float& v : values) v = round_bf16(v);
}

}  // namespace

std::unique_ptr<Recording> Recording::open(const std::filesystem::path& json_file) {
  json all = read_json_file(json_file);
  if (!all.is_object() || !all.contains("record")) return nullptr;
  const std::string data = all["record"].at("data").get<std::string>();
  return std::unique_ptr<Recording>(
      new Recording(json_file.stem().string(), std::move(all),
                    Safetensors::open(json_file.parent_path() / data)));
}

std::string Recording::family_of(const json& c) const {
  return c.contains("family") ? c["family"].get<std::string>()
                              : record().at("family").get<std::string>();
}

json Recording::dims_of(const json& c) const {
  json dims = all_.at(json::json_pointer(record().at("dims_at").get<std::string>()));
  if (c.contains("dims")) dims.update(c["dims"]);
  return dims;
}

SyntheticRule Recording::rule_of(const json& c) const {
  const json& weights = record().at("weights");
  SyntheticRule rule;
  rule.scale = parse_synthetic_scale(weights.at("rule").get<std::string>());
  rule.prefix = weights.value("prefix", "");
  // Globs of families with several files begin with the file's part, names when hashed do not.
  for (std::string glob : weights.value("factors", std::vector<std::string>{})) {
    const std::size_t part = glob.find(": ");
    rule.factors.push_back(part == std::string::npos ? glob : glob.substr(part + 2));
  }
  if (c.contains("multiply")) {
    for (const auto& [glob, factor] : c["multiply"].items()) {
      rule.multiply.emplace_back(glob, factor.get<float>());
    }
  }
  return rule;
}

DType Recording::stored_as(const std::string& tensor) const {
  const json& weights = record().at("weights");
  if (!weights.contains("stored_as")) return DType::f32;
  json stored = weights["stored_as"];
  if (stored.is_object()) stored = stored.value(tensor.substr(0, tensor.find(':')), "f32");
  require(stored == "bf16" || stored == "bfloat16" || stored == "f32",
          "recording: weights stored as {}", stored.dump());
  return stored == "f32" ? DType::f32 : DType::bf16;
}

RecordedInput Recording::tensor(const std::string& name) const {
  const StoredTensor* t = data_.find(name);
  require(t != nullptr, "recording {}: the tensor {} is missing", name_, name);
  RecordedInput in{t->shape, {}};
  in.values.resize(static_cast<std::size_t>(t->shape.numel()));
  for (std::size_t i = 0; i < in.values.size(); ++i) in.values[i] = element(*t, i);
  return in;
}

RecordedInput Recording::input(const json& spec) const {
  RecordedInput in;
  if (spec.contains("tensor")) return tensor(spec["tensor"].get<std::string>());
  if (spec.contains("values")) {
    flatten(spec["values"], 0, in);
    return in;
  }
  if (spec.contains("mod")) {
    const std::uint64_t h = fnv1a64(spec["mod"].get<std::string>());
    const auto count = spec.at("count").get<std::size_t>();
    in.shape = {spec.at("capacity").get<std::int64_t>()};
    in.values.assign(spec.at("capacity").get<std::size_t>(), 0.0f);
    for (std::size_t i = 0; i < count; ++i) {
      in.values[i] = static_cast<float>((synthetic_bits(h, i) >> 40) %
                                            spec.at("modulus").get<std::uint64_t>() +
                                        spec.at("add").get<std::uint64_t>());
    }
    return in;
  }
  in.shape = shape_from(spec.at("shape"));
  in.values.resize(static_cast<std::size_t>(in.shape.numel()));
  if (spec.contains("bytes")) {
    const std::uint64_t h = fnv1a64(spec["bytes"].get<std::string>());
    for (std::size_t i = 0; i < in.values.size(); ++i) {
      in.values[i] = static_cast<float>(synthetic_bits(h, i) >> 56);
    }
    return in;
  }
  fill_synthetic_input(spec.at("u").get<std::string>(), spec.at("scale").get<float>(), in.values);
  if (spec.contains("round")) round_to(spec["round"].get<std::string>(), in.values);
  if (spec.contains("zero_rows_from")) {
    const auto width = static_cast<std::size_t>(in.shape[-1]);
    const std::size_t from = spec["zero_rows_from"].get<std::size_t>() * width;
    std::fill(in.values.begin() + static_cast<std::ptrdiff_t>(from), in.values.end(), 0.0f);
  }
  return in;
}

RecordedInputs Recording::inputs_of(const json& c) const {
  RecordedInputs inputs;
  for (const auto& [name, spec] : c.at("inputs").items()) inputs[name] = input(spec);
  // The number of valid tokens, where the recording says it beside them.
  for (const auto& [name, spec] : c.at("inputs").items()) {
    if (!spec.contains("count")) continue;
    RecordedInput mask{inputs[name].shape, std::vector<float>(inputs[name].values.size(), 0.0f)};
    std::fill_n(mask.values.begin(), spec["count"].get<std::ptrdiff_t>(), 1.0f);
    inputs.emplace(name + ".mask", std::move(mask));
  }
  return inputs;
}

}  // namespace tendon
