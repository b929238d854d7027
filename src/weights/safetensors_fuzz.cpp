// Any bytes taken as a safetensors file, and any text taken as its header, are refused with an
// Error or describe tensors that lie inside the file, side by side.
#include <cstdlib>
#include <span>
#include <string>

#include "tendon/error.h"
#include "weights/safetensors_header.h"

namespace {

void check(std::span<const std::byte> start, std::uint64_t file_size) {
  try {
    const tendon::SafetensorsHeader header =
        tendon::parse_safetensors_header(start, file_size, "fuzz.safetensors");
    std::uint64_t at = 0;
    for (const auto& e : header.entries) {
      const auto n = static_cast<std::uint64_t>(e.shape.numel()) * tendon::size_of(e.dtype);
      if (e.begin != at || e.end - e.begin != n) std::abort();
      at = e.end;
    }
    if (header.data_start + at != file_size) std::abort();
  } catch (const tendon::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  check(bytes, size);
  if (size < 8) return 0;
  // The bytes as header text under a length that fits, 32 bytes of data after it.
  std::string wrapped(8, '\0');
  for (int i = 0; i < 8; ++i) {
    wrapped[static_cast<std::size_t>(i)] = static_cast<char>(size >> (8 * i));
  }
  wrapped.append(reinterpret_cast<const char*>(data), size);
  check(std::as_bytes(std::span(wrapped)), wrapped.size() + 32);
  return 0;
}
