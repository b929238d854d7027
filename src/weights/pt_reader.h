// PyTorch checkpoints (`.pt`, `.pth`): a zip archive of one pickle and the raw storages.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/mmap.h"
#include "weights/stored_tensor.h"

namespace tendon {

// Nothing in the file is executed: dictionaries, lists, numbers, texts and dense tensors are read,
// all else is refused by name. Owns the mapping; views of its tensors are valid as long as it
// lives, also after it has moved.
class PtFile {
 public:
  // Throws Error with one sentence naming the file and what in it is refused.
  static PtFile open(const std::filesystem::path& path);

  // Sorted; a tensor inside dictionaries is named by its keys and dots: "mot.<key>".
  const std::vector<StoredTensor>& tensors() const { return tensors_; }
  // The other leaves, spelled out: "step" -> "12000", "torch_dtype" -> "torch.bfloat16".
  const std::map<std::string, std::string>& values() const { return values_; }
  const MappedFile& file() const { return file_; }

 private:
  explicit PtFile(const std::filesystem::path& path) : file_(path) {}

  MappedFile file_;
  std::vector<StoredTensor> tensors_;
  std::map<std::string, std::string> values_;
};

}  // namespace tendon
