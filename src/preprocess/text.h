// Unicode text as Python sees it: white space, HTML entities, and the clean-up of prompts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "preprocess/contract.h"

namespace tendon {

// Reads one code point of valid UTF-8 at `at` and moves past it.
char32_t next_code_point(std::string_view text, std::size_t& at);
void append_utf8(char32_t code, std::string& out);
// Throws Error naming the byte where `text` stops being UTF-8; `what` names the text.
void require_utf8(std::string_view text, std::string_view what);

// What str.strip(), str.isspace() and re's \s take as white space.
bool is_python_space(char32_t code);
std::string_view python_strip(std::string_view text);

// html.unescape of HTML 5: named, with or without semicolon, and numeric references.
std::string html_unescape(std::string_view text);

// Every run of white space becomes one blank; none at the ends.
std::string collapse_spaces(std::string_view text);

// `text` by Cleaning::strip_underscore; other values leave it as it is.
void clean_text(Cleaning cleaning, std::string_view text, std::string& out);
// A finished piece by Cleaning::html_collapse; other values leave it as it is.
void clean_piece(Cleaning cleaning, std::string& piece);

}  // namespace tendon
