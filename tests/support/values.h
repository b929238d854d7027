// Contents of Values on the host: pseudo-random, dense, and back from a buffer's bytes.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "ops/trace.h"

namespace tendon::support {

// Element i of the tensor whose name has this hash, in [-1, 1), by the rule of synthetic
// checkpoints.
float unit(std::uint64_t hash, std::int64_t i);
std::uint64_t name_hash(std::string_view name);
// Elements 0 .. count - 1.
std::vector<float> units(std::string_view name, std::int64_t count);

// Values as elements of a dtype.
std::vector<std::byte> encoded(DType dtype, const std::vector<float>& values);

// For every element of a view, in row-major order, its number in the view's root.
std::vector<std::int64_t> elements(const ValueInfo& view);

// A view's content, dense, from the bytes of its buffer.
std::vector<float> dense(const ValueInfo& view, const std::vector<std::byte>& bytes);

}  // namespace tendon::support
