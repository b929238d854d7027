#include "base/file.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mmap.h"

namespace tendon {

std::string read_file(const std::filesystem::path& path, std::size_t limit) {
  const MappedFile file(path);
  require(file.bytes().size() <= limit, "{}: {} bytes, at most {} are read", path.string(),
          file.bytes().size(), limit);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

AtomicFile::AtomicFile(const std::filesystem::path& path) : path_(path) {
  for (int n = 0; fd_ < 0; ++n) {
    temporary_ = fmt::format("{}.part-{}-{}", path.string(), ::getpid(), n);
    fd_ = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    require(fd_ >= 0 || errno == EEXIST, "{}: cannot be written ({})", path.string(),
            std::strerror(errno));
  }
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::resize(std::uint64_t size) {
  if (size == 0) return;
  int result = ::fallocate(fd_, 0, 0, static_cast<off_t>(size));
  if (result != 0 && errno == EOPNOTSUPP) result = ::ftruncate(fd_, static_cast<off_t>(size));
  require(result == 0, "{}: no room for {} bytes ({})", path_.string(), size, std::strerror(errno));
}

void AtomicFile::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    require(n > 0, "{}: writing failed ({})", path_.string(), std::strerror(errno));
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
}

void AtomicFile::commit() {
  require(::fsync(fd_) == 0, "{}: writing failed ({})", path_.string(), std::strerror(errno));
  ::close(std::exchange(fd_, -1));
  require(::rename(temporary_.c_str(), path_.c_str()) == 0, "{}: cannot be replaced ({})",
          path_.string(), std::strerror(errno));
  temporary_.clear();
}

void write_file(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  AtomicFile file(path);
  file.write_at(0, bytes);
  file.commit();
}

void write_file(const std::filesystem::path& path, std::string_view text) {
  write_file(path, std::as_bytes(std::span(text.data(), text.size())));
}

}  // namespace tendon
