#include "preprocess/prompt.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "preprocess/text.h"

namespace tendon {

namespace {

constexpr std::size_t kMaxText = 1 << 16;

template <class T>
int bin(T x) noexcept {
  if (!(x < T{1})) return 255;
  if (x < T{-1}) return -1;
  return static_cast<int>(std::floor(T{128} * x)) + 128;
}

}  // namespace

int state_bin(double x) noexcept { return bin(x); }
int state_bin(float x) noexcept { return bin(x); }

PromptEncoder::PromptEncoder(PromptRules rules, Overflow overflow)
    : rules_(std::move(rules)),
      overflow_(overflow),
      pieces_(rules_.pieces.size()),
      encoded_(rules_.pieces.size()) {
  // Room for any usual prompt, so that a longer one than the last does not allocate.
  constexpr std::size_t kUsual = 2048;
  text_.reserve(kUsual);
  for (std::string& piece : pieces_) piece.reserve(kUsual);
  for (std::string& piece : encoded_) piece.reserve(kUsual);
  ids_.reserve(kUsual);
  last_.reserve(rules_.capacity);
}

void PromptEncoder::fill(std::string_view piece, std::string_view text,
                         std::span<const double> state, std::string& out) {
  constexpr std::string_view kText = "{text}", kState = "{state}";
  out.clear();
  while (!piece.empty()) {
    if (piece.starts_with(kText)) {
      out += text;
      piece.remove_prefix(kText.size());
    } else if (piece.starts_with(kState)) {
      const std::size_t width = std::max<std::size_t>(state.size(), rules_.widen_state);
      for (std::size_t i = 0; i < width; ++i) {
        const double x = i < state.size() ? state[i] : 0.0;
        char digits[8];
        const int n =
            rules_.bins == Precision::f64 ? state_bin(x) : state_bin(static_cast<float>(x));
        if (i > 0) out += ' ';
        out.append(digits, std::to_chars(digits, digits + sizeof digits, n).ptr);
      }
      piece.remove_prefix(kState.size());
    } else {
      out += piece[0];
      piece.remove_prefix(1);
    }
  }
}

const std::vector<std::string>& PromptEncoder::pieces(std::string_view text,
                                                      std::span<const double> state) {
  require(text.size() <= kMaxText, "prompt: {} bytes of text, at most {} are taken", text.size(),
          kMaxText);
  require_utf8(text, "prompt");
  clean_text(rules_.cleaning, text, text_);
  if (!text_.starts_with(rules_.ensure_prefix)) text_.insert(0, rules_.ensure_prefix);
  if (!text_.ends_with(rules_.ensure_suffix)) text_ += rules_.ensure_suffix;
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    fill(rules_.pieces[i], text_, state, pieces_[i]);
    clean_piece(rules_.cleaning, pieces_[i]);
  }
  return pieces_;
}

int PromptEncoder::encode(std::string_view text, std::span<const double> state,
                          Tokenizer& tokenizer, std::vector<std::int32_t>& tokens) {
  pieces(text, state);
  tokens.resize(rules_.capacity);
  if (last_count_ < 0 || pieces_ != encoded_) {
    last_count_ = -1;
    ids_.clear();
    if (rules_.bos >= 0) ids_.push_back(rules_.bos);
    for (const std::string& piece : pieces_) tokenizer.encode(piece, ids_);
    const std::size_t room = static_cast<std::size_t>(rules_.capacity) - (rules_.eos >= 0 ? 1 : 0);
    if (ids_.size() > room) {
      require(overflow_ == Overflow::truncate,
              "prompt: {} tokens where the model takes {}; shorten it, or ask for truncation",
              ids_.size() + (rules_.eos >= 0 ? 1 : 0), rules_.capacity);
      ids_.resize(room);
    }
    if (rules_.eos >= 0) ids_.push_back(rules_.eos);
    last_.assign(rules_.capacity, rules_.pad);
    std::copy(ids_.begin(), ids_.end(), last_.begin());
    encoded_ = pieces_;
    last_count_ = static_cast<int>(ids_.size());
  }
  std::copy(last_.begin(), last_.end(), tokens.begin());
  return last_count_;
}

}  // namespace tendon
