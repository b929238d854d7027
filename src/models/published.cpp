#include "models/published.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"

namespace tendon {

using nlohmann::json;

json dims_json(std::span<const Dimension> all) {
  json dims;
  for (const Dimension& d : all) dims[d.name] = *d.value;
  return dims;
}

void read_dims(const json& dims, std::span<const Dimension> all) {
  for (const Dimension& d : all) {
    if (dims.contains(d.name)) {
      *d.value = dims[d.name].get<std::int64_t>();
    } else if (d.other != nullptr && dims.contains(d.other)) {
      *d.value = dims[d.other].get<std::int64_t>();
    }
  }
}

void require_known(const json& known, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    require(known.contains(name),
            "the file does not say \"{}\": name a contract (--contract), or state it in "
            "tendon.json under \"dims\"",
            name);
  }
}

const Shape& CheckpointShapes::of(const std::string& name) const {
  const CheckpointTensor* tensor = checkpoint_.find(before_ + name);
  require(tensor != nullptr, "{}: {} is missing; {}", checkpoint_.origin(), before_ + name,
          remedy_);
  return tensor->shape;
}

std::int64_t CheckpointShapes::count(const std::string& pattern) const {
  std::int64_t n = 0;
  while (has(numbered(pattern, static_cast<std::size_t>(n)))) ++n;
  return n;
}

void CheckpointShapes::read(std::span<const Dimension> all) const {
  for (const Dimension& d : all) {
    if (d.tensor.empty()) continue;
    *d.value = d.tensor.find('#') == std::string::npos ? of(d.tensor)[d.axis] : count(d.tensor);
  }
}

}  // namespace tendon
