#include "preprocess/tokenizer.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "preprocess/prompt.h"
#include "preprocess/tokenizer_training.h"

namespace tendon {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<std::int32_t>;

Ids encode(Tokenizer& tokenizer, std::string_view text) {
  Ids ids;
  tokenizer.encode(text, ids);
  return ids;
}

const std::string& trained_sentencepiece() {
  static const std::string model = train_sentencepiece(training_lines(), 1000);
  return model;
}
const std::string& trained_bpe() {
  static const std::string config = train_byte_bpe(training_lines(), 512);
  return config;
}

class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / ("tendon_tokenizer_" + std::to_string(::getpid()))) {
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  fs::path operator/(const char* name) const { return path_ / name; }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

TEST(SentencePiece, trained_model_has_paligemmas_special_ids) {
  const auto t = sentencepiece_from_bytes(trained_sentencepiece(), "trained");
  EXPECT_EQ(t->id_of("<pad>"), 0);
  EXPECT_EQ(t->id_of("</s>"), 1);
  EXPECT_EQ(t->id_of("<s>"), 2);
  EXPECT_EQ(t->id_of("<unk>"), 3);
  EXPECT_GE(t->id_of("\n"), 4);
  EXPECT_EQ(t->id_of("no such piece"), -1);
  EXPECT_GT(t->vocabulary(), 500);
  EXPECT_EQ(t->content_hash().size(), 64u);
  EXPECT_EQ(trained_sentencepiece(), train_sentencepiece(training_lines(), 1000))
      << "same bytes on every run";
}

TEST(SentencePiece, blanks_and_unknown_characters_survive) {
  const auto t = sentencepiece_from_bytes(trained_sentencepiece(), "trained");
  EXPECT_EQ(encode(*t, "\n"), Ids{t->id_of("\n")});
  EXPECT_NE(encode(*t, "a  b"), encode(*t, "a b"));
  EXPECT_NE(encode(*t, "go "), encode(*t, "go"));
  EXPECT_EQ(encode(*t, "\xe9\x9b\xaa").size(), 3u);  // bytes
  for (const std::int32_t id : encode(*t, "caf\xc3\xa9 \xe9\x9b\xaa")) EXPECT_NE(id, 3);
  EXPECT_TRUE(encode(*t, "").empty());
  EXPECT_THROW(encode(*t, "\xff"), Error);
}

// With the state in the prompt no newline is encoded alone, without it one is: pi05.md 6.3 and 6.6.
TEST(SentencePiece, TrapT24_shape_of_prompts) {
  const auto t = sentencepiece_from_bytes(trained_sentencepiece(), "trained");
  PromptRules rules = named_prompt("text_newline");
  rules.capacity = 48;
  Ids tokens;
  int n = PromptEncoder(rules, Overflow::refuse).encode("pick up the bowl", {}, *t, tokens);
  Ids want{2};
  t->encode("pick up the bowl", want);
  want.push_back(t->id_of("\n"));
  want.resize(48);
  EXPECT_EQ(tokens, want);
  EXPECT_EQ(tokens[n - 1], t->id_of("\n"));

  rules = named_prompt("task_state");
  rules.capacity = 200;
  const std::vector<double> state{-1.0, 0.0, 0.9999};
  n = PromptEncoder(rules, Overflow::refuse).encode("pick up cube", state, *t, tokens);
  want = {2};
  t->encode("Task: pick up cube, State: 0 128 255;\nAction: ", want);
  EXPECT_EQ(n, static_cast<int>(want.size()));
  EXPECT_TRUE(std::equal(want.begin(), want.end(), tokens.begin()));
  Ids without_blank;
  t->encode("Action:", without_blank);
  EXPECT_NE(tokens[n - 1], without_blank.back())
      << "the blank after Action: is a token or part of one";
}

TEST(SentencePiece, damaged_files_are_refused) {
  EXPECT_THROW(sentencepiece_from_bytes("not a model", "x.model"), Error);
  EXPECT_THROW(sentencepiece_from_bytes("", "x.model"), Error);
  EXPECT_THROW(sentencepiece_from_bytes(trained_sentencepiece().substr(0, 4000), "x.model"), Error);
}

// Recorded with the tokenizers library (0.23) on this very file.
TEST(ByteBpe, recorded_ids) {
  const auto t = byte_bpe_from_json(trained_bpe(), "trained");
  EXPECT_EQ(t->vocabulary(), 357);
  const std::vector<std::pair<std::string, Ids>> cases{
      {"pick up the red block", {112, 298, 300, 260, 323, 287}},
      {"Don't we'LL I've it'S", {68, 111, 110, 39,  116, 32, 119, 101, 39, 76, 76,
                                 32, 73,  39,  118, 101, 32, 105, 116, 39, 83}},
      {" two  spaces   three",
       {256, 119, 111, 32, 32, 115, 112, 337, 115, 32, 32, 256, 104, 284, 101}},
      {"tabs\t\tand\r\n\r\nlines\n\n",
       {116, 97, 98, 115, 9, 9, 97, 110, 100, 13, 10, 13, 10, 108, 105, 110, 101, 115, 10, 10}},
      // NFC: a composed and a decomposed accent are one; U+1E9B U+0323 stays.
      {"caf\u00e9 cafe\u0301 \u1e9b\u0323",
       {99, 97, 102, 195, 169, 32, 99, 97, 102, 195, 169, 32, 225, 186, 155, 204, 163}},
      {"\uac00\u1100\u1161 \u0928\u093c", {234, 176, 128, 234, 176, 128, 32, 224, 164, 169}},
      {"12345 6.7e-8", {49, 50, 51, 52, 53, 32, 54, 46, 55, 101, 45, 56}},
      {"<|im_start|>user<|im_end|>x<|endoftext|>", {355, 117, 115, 288, 356, 120, 354}},
      {"<|im_start", {60, 124, 105, 109, 95, 115, 116, 346, 116}},
      {"a\u180eb \u3000c\u00a0d\u2028e\u0085f", {97,  225, 160, 142, 98,  32,  227, 128, 128, 99,
                                                 194, 160, 100, 226, 128, 168, 101, 194, 133, 102}},
      {"'\u017f '\u017fx", {39, 197, 191, 32, 39, 197, 191, 120}},
      {"\U0001f600!!\n??", {240, 159, 152, 128, 33, 33, 10, 63, 63}},
      {"\u0345\u0301\u0327a", {204, 167, 204, 129, 205, 133, 97}},
      {"", {}}};
  for (const auto& [text, ids] : cases) EXPECT_EQ(encode(*t, text), ids) << text;
}

TEST(ByteBpe, LingbotTrap11_bos_is_ordinary_text) {
  const auto t = byte_bpe_from_json(trained_bpe(), "trained");
  const Ids ids = encode(*t, "<bos>do it\n");
  EXPECT_EQ(ids, (Ids{60, 98, 111, 115, 62, 100, 111, 32, 105, 116, 10}));
  for (const std::int32_t id : ids) EXPECT_LT(id, t->id_of("<|endoftext|>"));
  EXPECT_EQ(t->id_of("<|im_start|>"), 355);
  EXPECT_EQ(t->id_of("<bos>"), -1);
}

TEST(ByteBpe, vocabulary_and_merges_as_files) {
  const Folder folder;
  const auto config = nlohmann::json::parse(trained_bpe());
  write_file(folder / "vocab.json", config["model"]["vocab"].dump());
  std::string merges = "#version: 0.2\n";
  for (const auto& m : config["model"]["merges"]) merges += m.get<std::string>() + "\n";
  write_file(folder / "merges.txt", merges);
  write_file(folder / "tokenizer_config.json",
             R"({"added_tokens_decoder": {"355": {"content": "<|im_start|>"},
                                   "354": {"content": "<|endoftext|>"}}})");
  const auto a = load_tokenizer(folder.path());
  const auto b = byte_bpe_from_json(trained_bpe(), "trained");
  for (const char* text : {"pick up the red block", "a<|im_start|>b", "x\xcc\x81 7\n"}) {
    EXPECT_EQ(encode(*a, text), encode(*b, text)) << text;
  }
}

std::string changed(const std::function<void(nlohmann::json&)>& change) {
  auto config = nlohmann::json::parse(trained_bpe());
  change(config);
  return config.dump();
}

TEST(ByteBpe, merges_as_pairs_are_the_same) {
  const auto config = changed([](nlohmann::json& c) {
    auto pairs = nlohmann::json::array();
    for (const auto& m : c["model"]["merges"]) {
      const std::string text = m;
      const auto blank = text.find(' ');
      pairs.push_back({text.substr(0, blank), text.substr(blank + 1)});
    }
    c["model"]["merges"] = pairs;
  });
  EXPECT_EQ(encode(*byte_bpe_from_json(config, "pairs"), "pick up the red block"),
            (Ids{112, 298, 300, 260, 323, 287}));
}

TEST(ByteBpe, what_is_not_understood_is_refused) {
  EXPECT_THROW(byte_bpe_from_json("{", "t"), Error);
  EXPECT_THROW(byte_bpe_from_json("[]", "t"), Error);
  EXPECT_THROW(byte_bpe_from_json("{}", "t"), Error);
  const auto refused = [](const std::function<void(nlohmann::json&)>& change) {
    EXPECT_THROW(byte_bpe_from_json(changed(change), "t"), Error);
  };
  refused([](auto& c) { c["model"]["type"] = "WordPiece"; });
  refused([](auto& c) { c["model"]["vocab"].erase("a"); });
  refused([](auto& c) { c["model"]["vocab"]["a"] = -4; });
  refused([](auto& c) { c["model"]["merges"].push_back("zz qq"); });
  refused([](auto& c) { c["model"]["merges"].push_back("nopair"); });
  refused([](auto& c) { c["normalizer"]["type"] = "Lowercase"; });
  refused([](auto& c) { c["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "(("; });
  refused([](auto& c) { c["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = true; });
  refused([](auto& c) { c["added_tokens"][0]["lstrip"] = true; });
}

TEST(LoadTokenizer, finds_files_by_name) {
  const Folder folder;
  EXPECT_THROW(load_tokenizer(folder.path()), Error);
  EXPECT_THROW(load_tokenizer(folder / "missing.model"), Error);
  write_file(folder / "tokenizer.json", trained_bpe());
  EXPECT_EQ(load_tokenizer(folder.path())->vocabulary(), 357);
  write_file(folder / "tokenizer.model", trained_sentencepiece());
  EXPECT_EQ(load_tokenizer(folder.path())->id_of("<s>"), 2);
  EXPECT_EQ(load_tokenizer(folder / "tokenizer.json")->vocabulary(), 357);
}

TEST(Training, too_small_a_vocabulary_is_refused) {
  EXPECT_THROW(train_byte_bpe(training_lines(), 100), Error);
  EXPECT_THROW(train_sentencepiece(training_lines(), 20), Error);
}

}  // namespace
}  // namespace tendon
