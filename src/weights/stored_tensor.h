// Tensors as files hold them.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "base/dtype.h"
#include "base/shape.h"

namespace tendon {

// A view of a mapped file; whoever opened the file owns the bytes. `bytes` may be unaligned.
struct StoredTensor {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  std::span<const std::byte> bytes;
  std::size_t file = 0;  // which of the opened files
};

// A tensor to be written or generated.
struct TensorSpec {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  std::string rule_name;  // the name that generated values are made from; empty: `name`
};

// "F32", "BF16", ...: how safetensors spells a type.
std::string_view safetensors_name(DType dtype);

}  // namespace tendon
