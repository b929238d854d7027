// Safetensors checkpoints: one file or a sharded folder, mapped and checked before any use.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/mmap.h"
#include "weights/stored_tensor.h"

namespace tendon {

// Owns the mappings; views of its tensors are valid as long as it lives, also after it has moved.
class Safetensors {
 public:
  // A `.safetensors` file, a `.safetensors.index.json`, or a folder that holds `model.safetensors`
  // or `model.safetensors.index.json`. Throws Error with one sentence naming file and tensor.
  static Safetensors open(const std::filesystem::path& path);

  const std::vector<StoredTensor>& tensors() const { return tensors_; }  // sorted by name
  const StoredTensor* find(std::string_view name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::vector<MappedFile>& files() const { return files_; }

  // Hints, see MappedFile.
  void will_read(const StoredTensor& t) const noexcept { files_[t.file].will_read(t.bytes); }
  void drop(const StoredTensor& t) const noexcept { files_[t.file].drop(t.bytes); }

  // "sampled-sha256:<hex>" over every header and, of every tensor, 4 KiB at its beginning, middle
  // and end: tells checkpoints apart in well under a second, proves nothing about the bytes
  // between.
  std::string fingerprint() const;
  // "sha256:<hex>" over all bytes of all files in order of name.
  std::string sha256() const;

 private:
  void add_file(const std::filesystem::path& path);
  void add_shards(const std::filesystem::path& index);
  void sort();

  std::vector<MappedFile> files_;
  std::vector<StoredTensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

// Writes a safetensors file whose tensors are known beforehand; the file appears under its name
// when finish() returns, whole, or not at all.
class SafetensorsWriter {
 public:
  // Data lies in the order of `tensors`.
  SafetensorsWriter(const std::filesystem::path& path, std::span<const TensorSpec> tensors,
                    const std::map<std::string, std::string>& metadata = {});

  // Part of tensor number `index` from its byte `offset` on. Any thread, several at once.
  void write(std::size_t index, std::uint64_t offset, std::span<const std::byte> bytes);
  // Throws Error where bytes are missing. Once.
  void finish();

 private:
  std::filesystem::path path_;
  std::vector<std::uint64_t> offsets_, left_;
  std::vector<std::string> names_;
  std::mutex mutex_;
  AtomicFile file_;
};

// Copies tensors into a file, those of the largest elements first, then by name, as others do.
void write_safetensors(const std::filesystem::path& path, std::vector<StoredTensor> tensors,
                       const std::map<std::string, std::string>& metadata);

// `model.safetensors.index.json` for shards in `folder`: tensor name -> file name.
void write_safetensors_index(const std::filesystem::path& folder,
                             const std::map<std::string, std::string>& weight_map,
                             std::uint64_t total_size);

}  // namespace tendon
