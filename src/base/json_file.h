// JSON from a file.
#pragma once

#include <filesystem>

#include <nlohmann/json_fwd.hpp>

namespace tendon {

// Throws Error naming the file and the byte at which it stops being JSON.
nlohmann::json read_json_file(const std::filesystem::path& path);

}  // namespace tendon
