#include "preprocess/prompt.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "preprocess/text.h"
#include "tests/support/golden.h"

namespace tendon {
namespace {

// The goldens' stand-in: ids are code points.
class CodePoints final : public Tokenizer {
 public:
  void encode(std::string_view text, std::vector<std::int32_t>& ids) override {
    ++calls;
    for (std::size_t at = 0; at < text.size();) {
      ids.push_back(static_cast<std::int32_t>(next_code_point(text, at)));
    }
  }
  std::int32_t vocabulary() const override { return 0x110000; }
  std::int32_t id_of(std::string_view) const override { return -1; }
  const std::string& content_hash() const override { return hash_; }
  int calls = 0;

 private:
  std::string hash_;
};

PromptRules rules(std::string_view name, int capacity) {
  PromptRules r = named_prompt(name);
  r.capacity = capacity;
  return r;
}

TEST(Prompt, TrapT29_bins_run_from_minus_one_to_255) {
  const golden::File file("pi05_cases");
  const auto in = file["host/bins/in_f64"].as<double>();
  const auto out = file["host/bins/out"].as<std::int32_t>();
  for (std::size_t i = 0; i < in.size(); ++i) EXPECT_EQ(state_bin(in[i]), out[i]) << in[i];
  const auto in32 = file["host/bins/in_f32"].as<float>();
  const auto out32 = file["host/bins/out_f32"].as<std::int32_t>();
  for (std::size_t i = 0; i < in32.size(); ++i) EXPECT_EQ(state_bin(in32[i]), out32[i]) << in32[i];
  EXPECT_EQ(state_bin(std::nan("")), 255);
  EXPECT_EQ(state_bin(std::numeric_limits<double>::infinity()), 255);
  EXPECT_EQ(state_bin(-std::numeric_limits<double>::infinity()), -1);
  EXPECT_EQ(state_bin(0.0078124), 128);
  EXPECT_EQ(state_bin(0.0078125), 129);
  EXPECT_EQ(state_bin(0.9921875), 255);
  EXPECT_EQ(state_bin(-1.0), 0);
}

void check_recorded(const nlohmann::json& c) {
  SCOPED_TRACE(c.dump().substr(0, 120));
  const bool with_state = !c["state"].is_null();
  PromptEncoder encoder(rules(with_state ? "task_state" : "text_newline", c["max_len"]),
                        Overflow::truncate);
  const std::vector<double> state =
      with_state ? c["state"].get<std::vector<double>>() : std::vector<double>();
  const auto& pieces = encoder.pieces(c["text"].get<std::string>(), state);
  ASSERT_EQ(pieces.size(), c["encoded"].size());
  for (std::size_t i = 0; i < pieces.size(); ++i) EXPECT_EQ(pieces[i], c["encoded"][i]["text"]);
  CodePoints tokenizer;
  std::vector<std::int32_t> tokens;
  EXPECT_EQ(encoder.encode(c["text"].get<std::string>(), state, tokenizer, tokens), c["n_valid"]);
  ASSERT_EQ(tokens.size(), c["length"].get<std::size_t>());
  const auto head = c["ids_head"].get<std::vector<std::int32_t>>();
  const auto tail = c["ids_tail"].get<std::vector<std::int32_t>>();
  EXPECT_TRUE(std::equal(head.begin(), head.end(), tokens.begin()));
  EXPECT_TRUE(std::equal(tail.begin(), tail.end(),
                         tokens.end() - static_cast<std::ptrdiff_t>(tail.size())));
}

TEST(Prompt, TrapT24_recorded_texts_and_padding) {
  const golden::File file("pi05_cases");
  const auto& cases = file.json["host"]["prompts"]["cases"];
  EXPECT_EQ(cases.size(), 48u);
  for (const auto& c : cases) check_recorded(c);
}

TEST(Prompt, TrapT25_state_is_not_padded_unless_the_checkpoint_wants_it) {
  PromptRules r = rules("task_state", 200);
  const std::vector<double> state{0, -2};
  EXPECT_EQ(PromptEncoder(r, Overflow::refuse).pieces("go", state)[0],
            "Task: go, State: 128 -1;\nAction: ");
  r.widen_state = 4;
  EXPECT_EQ(PromptEncoder(r, Overflow::refuse).pieces("go", state)[0],
            "Task: go, State: 128 -1 128 128;\nAction: ");
}

TEST(Prompt, lerobot_forms) {
  PromptEncoder pi0(rules("ends_in_newline", 48), Overflow::refuse);
  EXPECT_EQ(pi0.pieces(" pick_up ", {})[0], " pick_up \n");
  EXPECT_EQ(pi0.pieces("pick up\n", {})[0], "pick up\n");
  EXPECT_EQ(PromptEncoder(rules("task", 48), Overflow::refuse).pieces("go", {})[0],
            "Task: go;\nAction: ");
}

TEST(Prompt, LingbotTrap10_no_markers_but_the_literal_one) {
  const golden::File file("lingbot_vla_tiny");
  PromptEncoder encoder(rules("literal_bos", 72), Overflow::refuse);
  for (const auto& c : file.json["host"]["prompts"]) {
    EXPECT_EQ(encoder.pieces(c[0].get<std::string>(), {})[0], c[1].get<std::string>());
  }
  CodePoints tokenizer;
  std::vector<std::int32_t> tokens;
  EXPECT_EQ(encoder.encode("do it", {}, tokenizer, tokens), 11);  // no begin or end id added
  EXPECT_EQ(tokens[0], '<');
}

TEST(Prompt, fastwam_instruction_ends_in_its_end_token) {
  const golden::File file("fastwam_tiny");
  PromptEncoder encoder(rules("video_instruction", 128), Overflow::truncate);
  const std::string task = file.json["inputs"]["task"];
  CodePoints tokenizer;
  std::vector<std::int32_t> tokens;
  const int n = encoder.encode(task, {}, tokenizer, tokens);
  EXPECT_EQ(encoder.last_pieces()[0], file.json["inputs"]["prompt"].get<std::string>());
  EXPECT_EQ(tokens[n - 1], 1);
  EXPECT_EQ(encoder.encode(std::string(300, 'x'), {}, tokenizer, tokens), 128);
  EXPECT_EQ(tokens[127], 1);  // FastwamTrap37: the end token survives truncation
}

TEST(Prompt, over_capacity_is_refused_unless_asked) {
  CodePoints tokenizer;
  std::vector<std::int32_t> tokens;
  PromptEncoder strict(rules("text_newline", 8), Overflow::refuse);
  EXPECT_EQ(strict.encode("abcdef", {}, tokenizer, tokens), 8);
  try {
    strict.encode("abcdefg", {}, tokenizer, tokens);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()),
              "prompt: 9 tokens where the model takes 8; shorten it, or ask for truncation");
  }
  EXPECT_EQ(strict.encode("abc", {}, tokenizer, tokens), 5);  // usable after a refusal
  EXPECT_EQ(tokens, (std::vector<std::int32_t>{2, 'a', 'b', 'c', '\n', 0, 0, 0}));
}

TEST(Prompt, the_same_text_is_encoded_once) {
  CodePoints tokenizer;
  std::vector<std::int32_t> first, second;
  PromptEncoder encoder(rules("text_newline", 16), Overflow::refuse);
  encoder.encode("go", {}, tokenizer, first);
  EXPECT_EQ(encoder.encode("go ", {}, tokenizer, second), 4);
  EXPECT_EQ(tokenizer.calls, 2);
  EXPECT_EQ(first, second);
  encoder.encode("stop", {}, tokenizer, second);
  EXPECT_EQ(tokenizer.calls, 4);
}

TEST(Prompt, placeholders_in_the_text_are_text) {
  const std::vector<double> state{0};
  PromptEncoder encoder(rules("task_state", 200), Overflow::refuse);
  EXPECT_EQ(encoder.pieces("{state} {text}", state)[0],
            "Task: {state} {text}, State: 128;\nAction: ");
}

TEST(Prompt, bad_texts_are_refused) {
  PromptEncoder encoder(rules("text_newline", 16), Overflow::truncate);
  EXPECT_THROW(encoder.pieces("\xff", {}), Error);
  EXPECT_THROW(encoder.pieces(std::string(70000, 'a'), {}), Error);
}

}  // namespace
}  // namespace tendon
