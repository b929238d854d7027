// Published checkpoints in PyTorch's own files, rewritten as safetensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace tendon {

struct ConvertOptions {
  std::vector<std::filesystem::path> sources;     // .pt or .pth, one for each part of one policy
  std::vector<std::filesystem::path> companions;  // copied as they are: statistics, tokenizer
  std::filesystem::path folder;                   // made; must not be there, or be empty
  std::string contract;  // built-in name, written into tendon.json; empty: none is written
  std::string layout;    // of the policy's names, see Family::written_layouts; empty: the first
  std::uint64_t shard_bytes = 5'000'000'000;  // a part larger than this becomes several files
  std::function<void(double done)> progress;
};

struct ConvertReport {
  struct File {
    std::string name;  // in the folder
    std::size_t tensors = 0;
    std::uint64_t bytes = 0;
  };
  std::string family;
  std::vector<File> files;
  std::vector<std::string> left_out;  // tensors of the sources that the policy does not have
};

// Reads nothing but tensors, executes nothing, and checks every name and shape before it writes.
// Tensors keep type and bytes. The folder appears whole or not at all. Throws Error.
ConvertReport convert(const ConvertOptions& options);

}  // namespace tendon
