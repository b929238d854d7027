// The header of a safetensors file: parsing with every check, and writing. No file access.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weights/stored_tensor.h"

namespace tendon {

struct SafetensorsHeader {
  struct Entry {
    std::string name;
    DType dtype = DType::f32;
    Shape shape;
    std::uint64_t begin = 0, end = 0;  // bytes from the start of the data
  };
  std::vector<Entry> entries;  // in the order of their data
  std::map<std::string, std::string> metadata;
  std::uint64_t data_start = 0;  // byte of the file
};

// `start` is the file's first bytes, at least the header itself if the file has it; `file_size` the
// whole file's length. Afterwards the entries fill [data_start, file_size) without gap or overlap,
// each with the bytes its shape needs. Throws Error beginning with `what`, the file's name.
SafetensorsHeader parse_safetensors_header(std::span<const std::byte> start,
                                           std::uint64_t file_size, std::string_view what);

// Length field and header as they stand in a file, padded to 8 bytes. Sets offsets in the order the
// specs come in (the usual writers order by falling element size, then name).
struct SafetensorsLayout {
  std::string header;
  std::vector<std::uint64_t> offsets;  // of each tensor, from the start of the file
  std::uint64_t file_size = 0;
};
SafetensorsLayout lay_out_safetensors(std::span<const TensorSpec> tensors,
                                      const std::map<std::string, std::string>& metadata);

}  // namespace tendon
