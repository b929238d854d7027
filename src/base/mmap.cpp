#include "base/mmap.h"

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

namespace tendon {
namespace {

class OpenFile {
 public:
  explicit OpenFile(const std::filesystem::path& path)
      : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    require(fd_ >= 0, "{}: cannot be opened ({})", path.string(), std::strerror(errno));
  }
  ~OpenFile() { ::close(fd_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

// Calls madvise on the pages that lie inside [begin, begin + size), or that touch it where
// `outward`.
enum class Edge { inward, outward };

void advise(std::span<const std::byte> range, Edge edge, int advice) noexcept {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  auto first = reinterpret_cast<std::uintptr_t>(range.data());
  auto last = first + range.size();
  if (edge == Edge::inward) {
    first = (first + page - 1) / page * page;
    last = last / page * page;
  } else {
    first = first / page * page;
  }
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, advice);
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  const OpenFile file(path);
  struct stat info {};
  require(::fstat(file.get(), &info) == 0, "{}: cannot be examined ({})", path.string(),
          std::strerror(errno));
  require(S_ISREG(info.st_mode), "{}: not a regular file", path.string());
  size_ = static_cast<std::size_t>(info.st_size);
  if (size_ == 0) return;
  void* p = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.get(), 0);
  require(p != MAP_FAILED, "{}: cannot be mapped ({})", path.string(), std::strerror(errno));
  data_ = static_cast<const std::byte*>(p);
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void MappedFile::will_read(std::span<const std::byte> range) const noexcept {
  advise(range, Edge::outward, MADV_WILLNEED);
}

void MappedFile::drop(std::span<const std::byte> range) const noexcept {
  advise(range, Edge::inward, MADV_DONTNEED);
}

}  // namespace tendon
