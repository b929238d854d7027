// A whole file mapped read-only.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace tendon {

// Owns the mapping; movable. The bytes stay where they are when the object moves. A file that
// another process shortens while it is mapped ends this process (SIGBUS): checkpoints are not
// edited in place.
class MappedFile {
 public:
  // Throws Error naming the file and the reason.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }

  // Hints for a range inside bytes(): about to be read in order; no longer needed (its pages leave
  // this process's memory and come back from the file when touched again). Never fail.
  void will_read(std::span<const std::byte> range) const noexcept;
  void drop(std::span<const std::byte> range) const noexcept;

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace tendon
