// Miniature checkpoint folders for tests, in a temporary directory that goes with the object.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "engine/synth.h"
#include "tendon/tendon.h"

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

// A miniature folder, what loads it, and what its policy takes: pictures of 48 x 64, all the same,
// and one number all over the state.
class Miniature {
 protected:
  Miniature(const std::string& test, const std::string& family, std::vector<std::uint8_t> pixels)
      : folder_(test + "_" + family), pixels_(std::move(pixels)) {
    write_miniature(family, folder_.path);
  }
  Policy load(LoadOptions options = {}) const {
    options.dtype = "f32";
    options.threads = 1;
    return tendon::load(folder_.path.string(), options);
  }
  Observation observation(const PolicyInfo& info) const {
    Observation seen;
    for (const auto& input : info.inputs) {
      if (input.size > 0) {
        seen.state.push_back(
            {input.key, std::vector<double>(static_cast<std::size_t>(input.size), 0.1)});
      } else {
        seen.cameras.push_back({input.key, {pixels_.data(), kHeight, kWidth, 0}});
      }
    }
    seen.prompt = "pick up the red block";
    return seen;
  }

  static constexpr int kHeight = 48, kWidth = 64;
  static constexpr std::size_t kPixels = std::size_t{kHeight} * kWidth * 3;
  const TemporaryFolder folder_;

 private:
  std::vector<std::uint8_t> pixels_;
};

}  // namespace tendon::testing
