#include "preprocess/text.h"

#include <utf8proc.h>

#include <algorithm>

#include "base/error.h"

namespace tendon {

char32_t next_code_point(std::string_view text, std::size_t& at) {
  utf8proc_int32_t code = -1;
  const auto* p = reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + at;
  const auto size = utf8proc_iterate(p, static_cast<utf8proc_ssize_t>(text.size() - at), &code);
  if (size <= 0) {
    ++at;
    return 0xfffd;
  }
  at += static_cast<std::size_t>(size);
  return static_cast<char32_t>(code);
}

void append_utf8(char32_t code, std::string& out) {
  utf8proc_uint8_t bytes[4];
  const auto size = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code), bytes);
  out.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
}

void require_utf8(std::string_view text, std::string_view what) {
  for (std::size_t at = 0; at < text.size();) {
    utf8proc_int32_t code = -1;
    const auto* p = reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + at;
    const auto size = utf8proc_iterate(p, static_cast<utf8proc_ssize_t>(text.size() - at), &code);
    require(size > 0, "{}: byte {} is not valid UTF-8", what, at);
    at += static_cast<std::size_t>(size);
  }
}

bool is_python_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
         c == 0x205f || c == 0x3000;
}

std::string_view python_strip(std::string_view text) {
  std::size_t first = text.size(), last = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    if (is_python_space(next_code_point(text, at))) continue;
    first = std::min(first, begin);
    last = at;
  }
  return first < last ? text.substr(first, last - first) : std::string_view();
}

std::string collapse_spaces(std::string_view text) {
  std::string out;
  bool gap = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    if (is_python_space(next_code_point(text, at))) {
      gap = true;
      continue;
    }
    if (gap && !out.empty()) out += ' ';
    gap = false;
    out.append(text.substr(begin, at - begin));
  }
  return out;
}

void clean_text(Cleaning cleaning, std::string_view text, std::string& out) {
  if (cleaning != Cleaning::strip_underscore) {
    out.assign(text);
    return;
  }
  out.assign(python_strip(text));
  for (char& c : out) {
    if (c == '_' || c == '\n') c = ' ';
  }
}

void clean_piece(Cleaning cleaning, std::string& piece) {
  if (cleaning != Cleaning::html_collapse) return;
  if (piece.find('&') != std::string::npos) piece = html_unescape(html_unescape(piece));
  piece = collapse_spaces(piece);
}

}  // namespace tendon
