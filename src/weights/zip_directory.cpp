#include "weights/zip_directory.h"

#include <cstdint>
#include <optional>

#include "base/error.h"
#include "base/text.h"

namespace tendon {
namespace {

// Little-endian numbers at checked places.
class Bytes {
 public:
  Bytes(std::span<const std::byte> data, std::string_view what) : data_(data), what_(what) {}

  std::span<const std::byte> range(std::uint64_t at, std::uint64_t size) const {
    require(at <= data_.size() && size <= data_.size() - at,
            "{}: the zip archive is cut off or its directory lies", what_);
    return data_.subspan(at, size);
  }
  std::uint64_t number(std::uint64_t at, int bytes) const {
    const auto from = range(at, static_cast<std::uint64_t>(bytes));
    std::uint64_t n = 0;
    for (int i = bytes - 1; i >= 0; --i) {
      n = n << 8 | std::to_integer<std::uint64_t>(from[static_cast<std::size_t>(i)]);
    }
    return n;
  }
  std::string text(std::uint64_t at, std::uint64_t size) const {
    const auto from = range(at, size);
    return {reinterpret_cast<const char*>(from.data()), from.size()};
  }
  std::uint64_t size() const { return data_.size(); }

 private:
  std::span<const std::byte> data_;
  std::string_view what_;
};

constexpr std::uint64_t kEndSize = 22, kLocatorSize = 20, kEntrySize = 46, kLocalSize = 30;
constexpr std::uint64_t kAbsent32 = 0xffffffffu;

// The end record: at the very end, or before a comment of up to 65535 bytes.
std::optional<std::uint64_t> find_end(const Bytes& zip) {
  if (zip.size() < kEndSize) return std::nullopt;
  const std::uint64_t last = zip.size() - kEndSize;
  for (std::uint64_t back = 0; back <= 0xffff && back <= last; ++back) {
    const std::uint64_t at = last - back;
    if (zip.number(at, 4) == 0x06054b50 && zip.number(at + 20, 2) == back) return at;
  }
  return std::nullopt;
}

struct Directory {
  std::uint64_t entries = 0, at = 0;
};

Directory find_directory(const Bytes& zip, std::string_view what) {
  const auto end = find_end(zip);
  require(end.has_value(), "{}: not a zip archive", what);
  Directory d{zip.number(*end + 10, 2), zip.number(*end + 16, 4)};
  const bool wide = d.entries == 0xffff || d.at == kAbsent32;
  if (!wide || *end < kLocatorSize) return d;
  const std::uint64_t locator = *end - kLocatorSize;
  require(zip.number(locator, 4) == 0x07064b50, "{}: the zip archive lacks its zip64 record", what);
  const std::uint64_t record = zip.number(locator + 8, 8);
  require(zip.number(record, 4) == 0x06064b50, "{}: the zip archive lacks its zip64 record", what);
  return {zip.number(record + 32, 8), zip.number(record + 48, 8)};
}

struct Entry {
  std::uint64_t packed, size, local;
};

// Numbers that do not fit 32 bits stand in the extra field with id 1, in this order.
void widen(const Bytes& zip, std::uint64_t at, std::uint64_t size, Entry& e) {
  const std::uint64_t end = at + size;
  while (at + 4 <= end) {
    const std::uint64_t id = zip.number(at, 2), length = zip.number(at + 2, 2);
    at += 4;
    if (id == 1) {
      std::uint64_t from = at;
      for (std::uint64_t* field : {&e.size, &e.packed, &e.local}) {
        if (*field != kAbsent32 || from + 8 > at + length) continue;
        *field = zip.number(from, 8);
        from += 8;
      }
      return;
    }
    at += length;
  }
}

std::span<const std::byte> contents(const Bytes& zip, const Entry& e, const std::string& name,
                                    std::string_view what) {
  require(zip.number(e.local, 4) == 0x04034b50,
          "{}: '{}' of the zip archive is not where its "
          "directory says",
          what, printable(name));
  const std::uint64_t start =
      e.local + kLocalSize + zip.number(e.local + 26, 2) + zip.number(e.local + 28, 2);
  return zip.range(start, e.size);
}

}  // namespace

std::map<std::string, std::span<const std::byte>> read_zip_directory(
    std::span<const std::byte> archive, std::string_view what) {
  const Bytes zip(archive, what);
  Directory directory = find_directory(zip, what);
  require(directory.entries <= archive.size() / kEntrySize,
          "{}: the zip archive is cut off or its directory lies", what);
  std::map<std::string, std::span<const std::byte>> files;
  for (std::uint64_t i = 0, at = directory.at; i < directory.entries; ++i) {
    require(zip.number(at, 4) == 0x02014b50, "{}: the zip directory is damaged at entry {}", what,
            i);
    const std::uint64_t name_size = zip.number(at + 28, 2), extra_size = zip.number(at + 30, 2);
    const std::string name = zip.text(at + kEntrySize, name_size);
    Entry e{zip.number(at + 20, 4), zip.number(at + 24, 4), zip.number(at + 42, 4)};
    widen(zip, at + kEntrySize + name_size, extra_size, e);
    require((zip.number(at + 8, 2) & 1) == 0, "{}: '{}' is encrypted", what, printable(name));
    require(zip.number(at + 10, 2) == 0 && e.packed == e.size,
            "{}: '{}' is compressed; PyTorch stores its files as they are", what, printable(name));
    const bool fresh = files.emplace(name, contents(zip, e, name, what)).second;
    require(fresh, "{}: '{}' is in the zip archive twice", what, printable(name));
    at += kEntrySize + name_size + extra_size + zip.number(at + 32, 2);
  }
  return files;
}

}  // namespace tendon
