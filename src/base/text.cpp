#include "base/text.h"

namespace tendon {
namespace {

// Iterative matching with one point of return, the last star: linear memory, no recursion on
// hostile patterns. Returning to the last star only is exact for `*` without other wildcards.
struct Star {
  std::size_t pattern, begin, end;  // position after the star; the text it stands for
};

bool match(std::string_view pattern, std::string_view text, std::vector<Star>* stars) {
  std::size_t p = 0, t = 0;
  std::optional<Star> last;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      if (last && stars) stars->push_back(*last);
      last = Star{++p, t, t};
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p, ++t;
    } else if (last) {
      p = last->pattern;
      t = ++last->end;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') {
    if (last && stars) stars->push_back(*last);
    last = Star{++p, t, t};
  }
  if (last && stars) stars->push_back(*last);
  return p == pattern.size();
}

}  // namespace

bool glob_match(std::string_view pattern, std::string_view text) {
  return match(pattern, text, nullptr);
}

bool glob_match_any(std::span<const std::string> patterns, std::string_view text) {
  for (const std::string& p : patterns) {
    if (glob_match(p, text)) return true;
  }
  return false;
}

std::optional<std::vector<std::string>> glob_captures(std::string_view pattern,
                                                      std::string_view text) {
  std::vector<Star> stars;
  if (!match(pattern, text, &stars)) return std::nullopt;
  std::vector<std::string> captures;
  for (const Star& s : stars) captures.emplace_back(text.substr(s.begin, s.end - s.begin));
  return captures;
}

std::string numbered(std::string_view pattern, std::size_t number) {
  std::string name(pattern);
  return name.replace(name.find('#'), 1, std::to_string(number));
}

std::string printable(std::string_view name) {
  constexpr std::size_t kLimit = 200;
  std::string text;
  for (const char c : name.substr(0, kLimit)) {
    text += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  }
  if (name.size() > kLimit) text += "...";
  return text;
}

std::string list_some(std::span<const std::string> names, std::size_t limit) {
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < limit; ++i) {
    text += (i ? ", " : "") + printable(names[i]);
  }
  if (names.size() > limit) text += " and " + std::to_string(names.size() - limit) + " more";
  return text;
}

}  // namespace tendon
