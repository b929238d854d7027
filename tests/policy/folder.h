// Miniature checkpoint folders for tests, in a temporary directory that goes with the object.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "engine/synth.h"

namespace tendon::testing {

class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::string& name)
      : path(std::filesystem::temp_directory_path() /
             ("tendon_" + name + "_" + std::to_string(getpid()))) {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path path;
};

inline void write_miniature(const std::string& family, const std::filesystem::path& folder) {
  synthesise({.family = family, .folder = folder, .threads = 1}, nlohmann::json::object());
}

}  // namespace tendon::testing
