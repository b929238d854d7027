// From a task's text and a normalised state to the token row of a model.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "preprocess/contract.h"
#include "preprocess/tokenizer.h"

namespace tendon {

// floor(128 x) + 128 within -1..255: the number of the edge -1 + k/128 at or below x. NaN is 255.
int state_bin(double x) noexcept;
int state_bin(float x) noexcept;

enum class Overflow : std::uint8_t { refuse, truncate };

// Keeps the last prompt: the same text costs no tokenizer call. One per thread.
class PromptEncoder {
 public:
  PromptEncoder(PromptRules rules, Overflow overflow);

  // The pieces that will be encoded, after cleaning. `state` is normalised and of the robot's own
  // width. Throws Error on invalid UTF-8 and texts over 64 KiB.
  const std::vector<std::string>& pieces(std::string_view text, std::span<const double> state);

  // tokens [capacity] padded; returns how many are valid. Throws Error over capacity unless it
  // truncates.
  int encode(std::string_view text, std::span<const double> state, Tokenizer& tokenizer,
             std::vector<std::int32_t>& tokens);

  // Of the last encode() or pieces().
  const std::vector<std::string>& last_pieces() const { return pieces_; }

 private:
  void fill(std::string_view piece, std::string_view text, std::span<const double> state,
            std::string& out);

  PromptRules rules_;
  Overflow overflow_;
  std::string text_;
  std::vector<std::string> pieces_, encoded_;
  std::vector<std::int32_t> ids_, last_;  // scratch; the last row
  int last_count_ = -1;
};

}  // namespace tendon
