// Text rows of prompts, for models whose text encoder does not stay loaded: kept on disk, or read
// from files that somebody made beforehand.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace tendon {

// Rows [T, width] by token ids and encoder. Several processes may share a folder: a file appears
// whole or not at all. One thread at a time.
class ContextCache {
 public:
  // `encoder` tells text encoders apart (Checkpoint::fingerprint, and the working type). The folder
  // is made by the first store().
  ContextCache(std::filesystem::path folder, std::string encoder, int width);

  // nullopt: never stored. Throws Error where the file is there but is not what store() writes.
  std::optional<std::vector<float>> find(std::span<const std::int32_t> ids) const;
  void store(std::span<const std::int32_t> ids, std::span<const float> rows) const;

  std::filesystem::path file_of(std::span<const std::int32_t> ids) const;

 private:
  std::filesystem::path folder_;
  std::string encoder_;
  int width_;
};

// Rows of a `.npy` file [T, width], or of a `.safetensors` file: `context` [T, width] or [1, T,
// width], and `mask` [T] where it has one, 1 for rows that count, which come first. Zero rows at
// the end are padding and left out. Throws Error.
std::vector<float> read_context(const std::filesystem::path& file, int width);

}  // namespace tendon
