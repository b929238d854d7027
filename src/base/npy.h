// NumPy's .npy files: little-endian, C order, format versions 1 to 3.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <vector>

#include "base/tensor.h"

namespace tendon {

// An array that owns its bytes.
struct NpyArray {
  DType dtype = DType::f32;
  Shape shape;
  std::vector<std::byte> bytes;
  Tensor view() { return Tensor(bytes.data(), dtype, shape); }
  // The elements converted to fp32.
  std::vector<float> to_f32() const;
};

// f32, f64, i32, i64, u8, bool. Throws Error naming the file and what is wrong.
NpyArray read_npy(const std::filesystem::path& path);
// The same from memory; `what` names it in messages.
NpyArray parse_npy(std::span<const std::byte> file, std::string_view what);

// A dense tensor of the same types. Whole file or nothing.
void write_npy(const std::filesystem::path& path, const Tensor& tensor);

}  // namespace tendon
