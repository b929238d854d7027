// Names and patterns.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tendon {

// Does `pattern` match all of `text`? `*` stands for any characters, dots and none included; all
// else for itself.
bool glob_match(std::string_view pattern, std::string_view text);
bool glob_match_any(std::span<const std::string> patterns, std::string_view text);

// What each `*` stood for, the first as short as possible, then the second, ...; nullopt: no match.
std::optional<std::vector<std::string>> glob_captures(std::string_view pattern,
                                                      std::string_view text);

// "kv.#.k", 3 -> "kv.3.k".
std::string numbered(std::string_view pattern, std::size_t number);

// A name from an untrusted file, fit for a message: control characters replaced, at most 200 bytes.
std::string printable(std::string_view name);

// "a, b, c and 12 more": at most `limit` of them, by printable().
std::string list_some(std::span<const std::string> names, std::size_t limit);

}  // namespace tendon
