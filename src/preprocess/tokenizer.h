// Text to token ids.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tendon {

// One per thread: encode() may use scratch memory of its own.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  // Appends the ids of UTF-8 `text`; adds no begin or end marker. Throws Error on invalid UTF-8.
  virtual void encode(std::string_view text, std::vector<std::int32_t>& ids) = 0;
  virtual std::int32_t vocabulary() const = 0;
  // The id of the whole piece `name`, -1 where there is none.
  virtual std::int32_t id_of(std::string_view name) const = 0;
  // SHA-256 of the file, hexadecimal.
  virtual const std::string& content_hash() const = 0;
};

// A SentencePiece .model / .spm file, a tokenizer.json, or a folder that holds one of
// tokenizer.model, spiece.model, tokenizer.json, vocab.json + merges.txt. Throws Error naming the
// path and the remedy.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& path);

std::unique_ptr<Tokenizer> sentencepiece_from_bytes(std::string_view model,
                                                    std::string_view origin);
// `config` is tokenizer.json's text.
std::unique_ptr<Tokenizer> byte_bpe_from_json(std::string_view config, std::string_view origin);
std::unique_ptr<Tokenizer> byte_bpe_from_files(const std::filesystem::path& vocab,
                                               const std::filesystem::path& merges);

}  // namespace tendon
