#include <algorithm>
#include <charconv>
#include <unordered_map>

#include "preprocess/text.h"

namespace tendon {

namespace {

// HTML 5's named character references, "name=hex[+hex]"; a name without ';' also counts as a
// prefix.
constexpr char kEntities[] =
#include "preprocess/html_entities.inc"
    ;

using Entities = std::unordered_map<std::string_view, std::string>;

Entities read_entities() {
  Entities out;
  for (std::string_view rest = kEntities; !rest.empty();) {
    const std::string_view item = rest.substr(0, rest.find(' '));
    rest.remove_prefix(std::min(rest.size(), item.size() + 1));
    const std::size_t equal = item.find('=');
    std::string text;
    for (const char* p = item.data() + equal; p < item.data() + item.size();) {
      std::uint32_t code = 0;
      p = std::from_chars(p + 1, item.data() + item.size(), code, 16).ptr;
      append_utf8(code, text);
    }
    out.emplace(item.substr(0, equal), std::move(text));
  }
  return out;
}

const Entities& entities() {
  static const Entities all = read_entities();
  return all;
}

constexpr std::size_t kLongestName = 32;

// Windows-1252 where a page wrote C1 control characters; zero: the code itself.
constexpr char32_t kWindows[32] = {0x20ac, 0x81,   0x201a, 0x192,  0x201e, 0x2026, 0x2020, 0x2021,
                                   0x2c6,  0x2030, 0x160,  0x2039, 0x152,  0x8d,   0x17d,  0x8f,
                                   0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014,
                                   0x2dc,  0x2122, 0x161,  0x203a, 0x153,  0x9d,   0x17e,  0x178};

bool is_dropped(std::uint32_t c) {
  return (c >= 0x1 && c <= 0x8) || c == 0xb || (c >= 0xe && c <= 0x1f) ||
         (c >= 0x7f && c <= 0x9f) || (c >= 0xfdd0 && c <= 0xfdef) ||
         ((c & 0xfffe) == 0xfffe && c <= 0x10ffff);
}

void append_number(std::uint32_t c, std::string& out) {
  if (c == 0) return append_utf8(0xfffd, out);
  if (c == 0x0d) return append_utf8(0x0d, out);
  if (c >= 0x80 && c <= 0x9f) return append_utf8(kWindows[c - 0x80], out);
  if ((c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff) return append_utf8(0xfffd, out);
  if (!is_dropped(c)) append_utf8(c, out);
}

bool is_digit(char c, int base) {
  return (c >= '0' && c <= '9') ||
         (base == 16 && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')));
}

// After "&#". Returns the bytes read, 0 where no number stands there.
std::size_t read_number(std::string_view text, std::string& out) {
  const int base = !text.empty() && (text[0] == 'x' || text[0] == 'X') ? 16 : 10;
  const std::size_t begin = base == 16 ? 1 : 0;
  std::size_t at = begin;
  std::uint32_t value = 0;
  for (; at < text.size() && is_digit(text[at], base); ++at) {
    std::uint32_t digit = 0;
    std::from_chars(&text[at], &text[at] + 1, digit, base);
    value = std::min<std::uint32_t>(value * base + digit, 0x110000);
  }
  if (at == begin) return 0;
  append_number(value, out);
  if (at < text.size() && text[at] == ';') ++at;
  return at;
}

bool ends_name(char c) {
  return c == '\t' || c == '\n' || c == '\f' || c == ' ' || c == '<' || c == '&' || c == '#' ||
         c == ';';
}

// After "&". Returns the bytes replaced, 0 where no name stands there.
std::size_t read_name(std::string_view text, std::string& out) {
  std::size_t size = 0;
  for (int characters = 0; characters < static_cast<int>(kLongestName) && size < text.size();
       ++characters) {
    if (ends_name(text[size])) break;
    next_code_point(text, size);
  }
  if (size == 0) return 0;
  if (size < text.size() && text[size] == ';') ++size;
  const std::string_view whole = text.substr(0, size);
  if (const auto at = entities().find(whole); at != entities().end()) {
    out += at->second;
    return size;
  }
  for (std::size_t n = size - 1; n > 1; --n) {
    if (const auto at = entities().find(whole.substr(0, n)); at != entities().end()) {
      out += at->second;
      return n;
    }
  }
  return 0;
}

}  // namespace

std::string html_unescape(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] != '&') {
      out += text[at++];
      continue;
    }
    const std::string_view rest = text.substr(at + 1);
    const std::size_t number = rest.starts_with('#') ? read_number(rest.substr(1), out) : 0;
    const std::size_t used = number > 0 ? number + 1 : read_name(rest, out);
    if (used == 0) out += '&';
    at += 1 + used;
  }
  return out;
}

}  // namespace tendon
