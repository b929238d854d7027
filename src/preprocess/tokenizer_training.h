// Small tokenizers made from a few lines of text: for generated checkpoints and tests.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tendon {

// A SentencePiece BPE model in PaliGemma's form: byte fallback, identity normaliser, no dummy
// prefix, extra blanks kept, pad 0, eos 1, bos 2, unk 3, newline, ';' and ',' pieces of their own.
// At most `vocabulary` pieces; the same bytes on every run. Throws Error.
std::string train_sentencepiece(std::span<const std::string> lines, int vocabulary);

// The text of a tokenizer.json in Qwen2's form with at most `vocabulary` tokens, added ones
// included.
std::string train_byte_bpe(std::span<const std::string> lines, int vocabulary);

// Prompts over the demonstration's wordings and all 257 state bins.
std::vector<std::string> training_lines();

}  // namespace tendon
