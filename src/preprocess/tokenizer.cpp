#include "preprocess/tokenizer.h"

#include "base/error.h"
#include "base/file.h"

namespace tendon {

namespace fs = std::filesystem;

namespace {

std::unique_ptr<Tokenizer> load_file(const fs::path& file) {
  if (file.extension() == ".json") return byte_bpe_from_json(read_file(file), file.string());
  return sentencepiece_from_bytes(read_file(file), file.string());
}

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer(const fs::path& path) {
  std::error_code error;
  if (fs::is_regular_file(path, error)) return load_file(path);
  require(fs::is_directory(path, error), "{}: there is no such tokenizer file or folder",
          path.string());
  for (const char* name :
       {"tokenizer.model", "paligemma_tokenizer.model", "spiece.model", "tokenizer.json"}) {
    if (fs::is_regular_file(path / name, error)) return load_file(path / name);
  }
  if (fs::is_regular_file(path / "vocab.json", error) &&
      fs::is_regular_file(path / "merges.txt", error)) {
    return byte_bpe_from_files(path / "vocab.json", path / "merges.txt");
  }
  fail(
      "{}: no tokenizer in this folder (tokenizer.model, spiece.model, tokenizer.json, or "
      "vocab.json with "
      "merges.txt); name its file with --tokenizer",
      path.string());
}

}  // namespace tendon
