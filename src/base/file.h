// Whole files: read into memory; written so that nobody ever sees half of one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace tendon {

// The file's bytes. Throws Error where it cannot be read or is larger than `limit`.
std::string read_file(const std::filesystem::path& path, std::size_t limit = 256u << 20);

// A file under a temporary name beside `path`, which takes its place in commit(). Without commit()
// nothing remains and an earlier file at `path` stays as it was. Throws Error.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // Reserves room, so that a full disk is noticed before the work.
  void resize(std::uint64_t size);
  // Any thread, several at once on ranges that do not overlap.
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes);
  // Syncs and renames. Once.
  void commit();

 private:
  std::filesystem::path path_, temporary_;
  int fd_ = -1;
};

void write_file(const std::filesystem::path& path, std::span<const std::byte> bytes);
void write_file(const std::filesystem::path& path, std::string_view text);

}  // namespace tendon
