// The parts of a byte-level BPE tokenizer, between its files and its encoder.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "preprocess/tokenizer.h"

namespace tendon {

// Matched in the text before anything else.
struct AddedToken {
  std::string text;
  std::int32_t id = -1;
};

struct ByteBpeModel {
  std::string origin;  // for messages
  std::string pattern;
  bool nfc = false;
  std::vector<std::pair<std::string, std::int32_t>> vocabulary;  // in byte symbols
  std::vector<std::pair<std::string, std::string>> merges;       // best first
  std::vector<AddedToken> added;
  std::string hash;
};

// Qwen2's word pattern, also that of vocab.json + merges.txt, which carry none.
extern const std::string_view kQwenPattern;

// The character, as UTF-8, that stands for a byte in vocabularies and merges.
std::string byte_symbol(int byte);

// Throws Error where vocabulary, merges and pattern do not fit together.
std::unique_ptr<Tokenizer> make_byte_bpe(ByteBpeModel model);

}  // namespace tendon
