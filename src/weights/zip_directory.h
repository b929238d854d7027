// The files inside a zip archive that lies in memory, stored without compression.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>

namespace tendon {

// Name -> bytes, views of `archive`; zip64 included. Checks every bound before it reads; contents
// are not compared with their CRC. Throws Error beginning with `what` on anything compressed,
// encrypted, cut off or named twice.
std::map<std::string, std::span<const std::byte>> read_zip_directory(
    std::span<const std::byte> archive, std::string_view what);

}  // namespace tendon
