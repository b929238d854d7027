#include "preprocess/tokenizer_training.h"

#include <sentencepiece_trainer.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/error.h"
#include "base/hash.h"
#include "base/rng.h"
#include "preprocess/byte_bpe.h"

namespace tendon {

namespace {

class Lines final : public sentencepiece::SentenceIterator {
 public:
  explicit Lines(std::span<const std::string> lines) : lines_(lines) {}
  bool done() const override { return at_ == lines_.size(); }
  void Next() override { ++at_; }
  const std::string& value() const override { return lines_[at_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  std::span<const std::string> lines_;
  std::size_t at_ = 0;
};

}  // namespace

std::string train_sentencepiece(std::span<const std::string> lines, int vocabulary) {
  Lines iterator(lines);
  std::string model;
  const auto status =
      sentencepiece::SentencePieceTrainer::Train({{"vocab_size", std::to_string(vocabulary)},
                                                  {"model_type", "bpe"},
                                                  {"byte_fallback", "true"},
                                                  {"normalization_rule_name", "identity"},
                                                  {"add_dummy_prefix", "false"},
                                                  {"remove_extra_whitespaces", "false"},
                                                  {"pad_id", "0"},
                                                  {"eos_id", "1"},
                                                  {"bos_id", "2"},
                                                  {"unk_id", "3"},
                                                  {"user_defined_symbols", "\"\n\",;,\",\""},
                                                  {"character_coverage", "1.0"},
                                                  {"num_threads", "1"},
                                                  {"hard_vocab_limit", "false"},
                                                  {"minloglevel", "2"}},
                                                 &iterator, &model);
  require(status.ok(), "training a tokenizer of {} pieces failed: {}", vocabulary,
          status.message());
  return model;
}

namespace {

struct Word {
  std::vector<std::string> symbols;
  int count = 0;
};

// Words as Qwen's pattern would cut plain prompts: a blank goes with the letters after it, digits
// stand alone.
std::vector<std::string> split_plain(const std::string& line) {
  std::vector<std::string> words;
  const auto letter = [](char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; };
  for (std::size_t i = 0; i < line.size();) {
    std::size_t end = i + 1;
    if (letter(line[i]) || (line[i] == ' ' && end < line.size() && letter(line[end]))) {
      while (end < line.size() && letter(line[end])) ++end;
    }
    words.push_back(line.substr(i, end - i));
    i = end;
  }
  return words;
}

using Pair = std::pair<std::string, std::string>;

void apply_merge(const Pair& pair, std::vector<Word>& words) {
  for (Word& word : words) {
    for (std::size_t i = 0; i + 1 < word.symbols.size(); ++i) {
      if (word.symbols[i] != pair.first || word.symbols[i + 1] != pair.second) continue;
      word.symbols[i] += pair.second;
      word.symbols.erase(word.symbols.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    }
  }
}

// The most frequent pair, the first in byte order among equals; count 0: none is left.
std::pair<Pair, int> best_pair(const std::vector<Word>& words) {
  std::map<Pair, int> counts;
  for (const Word& word : words) {
    for (std::size_t i = 0; i + 1 < word.symbols.size(); ++i) {
      counts[{word.symbols[i], word.symbols[i + 1]}] += word.count;
    }
  }
  std::pair<Pair, int> best{{}, 0};
  for (const auto& [pair, count] : counts) {
    if (count > best.second) best = {pair, count};
  }
  return best;
}

nlohmann::json qwen_config(const nlohmann::json& vocab, const nlohmann::json& merges, int next_id) {
  const auto added = [](int id, const char* text) {
    return nlohmann::json{{"id", id},        {"content", text}, {"single_word", false},
                          {"lstrip", false}, {"rstrip", false}, {"normalized", false},
                          {"special", true}};
  };
  return {{"version", "1.0"},
          {"added_tokens",
           {added(next_id, "<|endoftext|>"), added(next_id + 1, "<|im_start|>"),
            added(next_id + 2, "<|im_end|>")}},
          {"normalizer", {{"type", "NFC"}}},
          {"pre_tokenizer",
           {{"type", "Sequence"},
            {"pretokenizers",
             {{{"type", "Split"},
               {"pattern", {{"Regex", std::string(kQwenPattern)}}},
               {"behavior", "Isolated"},
               {"invert", false}},
              {{"type", "ByteLevel"},
               {"add_prefix_space", false},
               {"trim_offsets", false},
               {"use_regex", false}}}}}},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"byte_fallback", false},
            {"ignore_merges", false},
            {"vocab", vocab},
            {"merges", merges}}}};
}

}  // namespace

std::string train_byte_bpe(std::span<const std::string> lines, int vocabulary) {
  constexpr int kAdded = 3;
  require(vocabulary >= 256 + kAdded,
          "a byte-level tokenizer has at least {} tokens, {} were asked for", 256 + kAdded,
          vocabulary);
  std::map<std::string, int> counts;
  for (const std::string& line : lines) {
    for (const std::string& word : split_plain(line)) ++counts[word];
  }
  std::vector<Word> words;
  for (const auto& [text, count] : counts) {
    Word& word = words.emplace_back();
    word.count = count;
    for (const char c : text) word.symbols.push_back(byte_symbol(static_cast<unsigned char>(c)));
  }
  nlohmann::json vocab = nlohmann::json::object(), merges = nlohmann::json::array();
  int next_id = 0;
  for (int b = 0; b < 256; ++b) vocab[byte_symbol(b)] = next_id++;
  while (next_id < vocabulary - kAdded) {
    const auto [pair, count] = best_pair(words);
    if (count < 2) break;
    apply_merge(pair, words);
    vocab[pair.first + pair.second] = next_id++;
    merges.push_back(pair.first + " " + pair.second);
  }
  return qwen_config(vocab, merges, next_id).dump();
}

std::vector<std::string> training_lines() {
  constexpr const char* kVerbs[] = {
      "pick up the",         "lift the", "grab the", "take the", "put down the", "push the",
      "move the arm to the", "place the"};
  constexpr const char* kColours[] = {"red",    "green",  "blue",  "yellow",
                                      "orange", "purple", "white", "black"};
  constexpr const char* kThings[] = {"block", "cube", "cup", "bowl", "plate", "drawer"};
  std::vector<std::string> lines;
  const std::uint64_t stream = fnv1a64("tokenizer.training");
  for (std::uint64_t i = 0; i < 4000; ++i) {
    const auto draw = [&](std::uint64_t k, std::uint64_t n) {
      return synthetic_bits(stream, i * 16 + k) % n;
    };
    std::string line = std::string("Task: ") + kVerbs[draw(0, 8)] + " " + kColours[draw(1, 8)] +
                       " " + kThings[draw(2, 6)] + ", State:";
    for (std::uint64_t k = 0; k < 5; ++k) {
      line += " " + std::to_string(static_cast<int>(draw(3 + k, 257)) - 1);
    }
    lines.push_back(line + "; Action: ");
  }
  return lines;
}

}  // namespace tendon
