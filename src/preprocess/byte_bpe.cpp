// Byte-level BPE as the tokenizers library runs it for Qwen: added tokens cut out of the raw text,
// NFC, a regular expression that splits words, then merges over bytes.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/text.h"
#include "preprocess/byte_bpe.h"
#include "preprocess/text.h"
#include "preprocess/tokenizer.h"

namespace tendon {

using nlohmann::json;

namespace {

// The white space of Unicode, as a PCRE2 class body: its own \s counts U+180E too, the originals'
// does not.
constexpr std::string_view kSpaces = R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a})"
                                     R"(\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

std::string spell_out_spaces(std::string_view pattern) {
  std::string out;
  bool in_class = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char next = pattern[++i];
      if (next == 's' && in_class) {
        out += kSpaces;
      } else if (next == 's' || (next == 'S' && !in_class)) {
        out += next == 's' ? "[" : "[^";
        out += kSpaces;
        out += ']';
      } else {
        out += c;
        out += next;
      }
      continue;
    }
    if (c == '[') in_class = true;
    if (c == ']') in_class = false;
    out += c;
  }
  return out;
}

class Pattern {
 public:
  Pattern(std::string_view pattern, std::string_view origin) {
    const std::string text = spell_out_spaces(pattern);
    int code = 0;
    PCRE2_SIZE at = 0;
    regex_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                               PCRE2_UTF | PCRE2_UCP, &code, &at, nullptr));
    require(regex_ != nullptr, "{}: its split pattern is no regular expression (error {} at {})",
            origin, code, at);
    pcre2_jit_compile(regex_.get(),
                      PCRE2_JIT_COMPLETE);  // optional: without it the interpreter runs
    match_.reset(pcre2_match_data_create_from_pattern(regex_.get(), nullptr));
  }
  // The next match from `at` on: [first, last), or false.
  bool find(std::string_view text, std::size_t at, std::size_t& first, std::size_t& last) {
    const int n = pcre2_match(regex_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                              at, PCRE2_NO_UTF_CHECK, match_.get(), nullptr);
    require(n >= 0 || n == PCRE2_ERROR_NOMATCH,
            "splitting the text into words failed (PCRE2 error {})", n);
    if (n < 0) return false;
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(match_.get());
    first = ends[0];
    last = ends[1];
    return true;
  }

 private:
  struct FreeRegex {
    void operator()(pcre2_code* p) const { pcre2_code_free(p); }
  };
  struct FreeMatch {
    void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
  };
  std::unique_ptr<pcre2_code, FreeRegex> regex_;
  std::unique_ptr<pcre2_match_data, FreeMatch> match_;
};

struct Merge {
  std::int32_t rank, id;
};

std::uint64_t pair_key(std::int32_t a, std::int32_t b) {
  return std::uint64_t{static_cast<std::uint32_t>(a)} << 32 | static_cast<std::uint32_t>(b);
}

class ByteBpe final : public Tokenizer {
 public:
  explicit ByteBpe(ByteBpeModel model)
      : pattern_(model.pattern, model.origin), hash_(std::move(model.hash)), nfc_(model.nfc) {
    for (auto& [text, id] : model.vocabulary) {
      require(id >= 0 && id < (1 << 28), "{}: token {} has the id {}", model.origin,
              printable(text), id);
      size_ = std::max(size_, id + 1);
      vocabulary_.emplace(std::move(text), id);
    }
    for (int b = 0; b < 256; ++b) {
      const auto at = vocabulary_.find(byte_symbol(b));
      require(at != vocabulary_.end(), "{}: the vocabulary lacks byte {}; it is no byte-level BPE",
              model.origin, b);
      byte_id_[b] = at->second;
    }
    for (std::size_t i = 0; i < model.merges.size(); ++i) add_merge(model, static_cast<int>(i));
    added_ = std::move(model.added);
    for (const AddedToken& t : added_) {
      require(!t.text.empty() && t.id >= 0 && t.id < (1 << 28), "{}: an added token has the id {}",
              model.origin, t.id);
      size_ = std::max(size_, t.id + 1);
    }
  }

  void encode(std::string_view text, std::vector<std::int32_t>& ids) override {
    require_utf8(text, "text");
    while (!text.empty()) {
      std::size_t at = std::string_view::npos;
      const AddedToken* token = first_added(text, at);
      encode_plain(text.substr(0, at), ids);
      if (token == nullptr) return;
      ids.push_back(token->id);
      text.remove_prefix(at + token->text.size());
    }
  }
  std::int32_t vocabulary() const override { return size_; }
  std::int32_t id_of(std::string_view name) const override {
    for (const AddedToken& t : added_) {
      if (t.text == name) return t.id;
    }
    std::string spelled;
    for (const char c : name) spelled += byte_symbol(static_cast<unsigned char>(c));
    const auto at = vocabulary_.find(spelled);
    return at == vocabulary_.end() ? -1 : at->second;
  }
  const std::string& content_hash() const override { return hash_; }

 private:
  void add_merge(const ByteBpeModel& model, int rank) {
    const auto& [left, right] = model.merges[rank];
    const auto a = vocabulary_.find(left), b = vocabulary_.find(right),
               both = vocabulary_.find(left + right);
    require(a != vocabulary_.end() && b != vocabulary_.end() && both != vocabulary_.end(),
            "{}: merge {} joins {} and {}, which the vocabulary does not hold", model.origin, rank,
            printable(left), printable(right));
    merges_.try_emplace(pair_key(a->second, b->second), Merge{rank, both->second});
  }

  // The leftmost added token, the longest of those that start there.
  const AddedToken* first_added(std::string_view text, std::size_t& at) const {
    const AddedToken* best = nullptr;
    for (const AddedToken& t : added_) {
      const std::size_t found = text.find(t.text);
      if (found == std::string_view::npos) continue;
      if (best == nullptr || found < at || (found == at && t.text.size() > best->text.size())) {
        best = &t;
        at = found;
      }
    }
    return best;
  }

  void encode_plain(std::string_view text, std::vector<std::int32_t>& ids) {
    if (text.empty()) return;
    std::string composed;
    const bool ascii =
        std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
    if (nfc_ && !ascii) {
      utf8proc_uint8_t* out = nullptr;
      const auto size =
          utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                       static_cast<utf8proc_ssize_t>(text.size()), &out,
                       static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
      require(size >= 0, "the text could not be brought to NFC: {}", utf8proc_errmsg(size));
      composed.assign(reinterpret_cast<const char*>(out), static_cast<std::size_t>(size));
      std::free(out);
      text = composed;
    }
    std::size_t at = 0, first = 0, last = 0;
    while (at < text.size() && pattern_.find(text, at, first, last)) {
      if (first > at) encode_word(text.substr(at, first - at), ids);
      if (last > first) encode_word(text.substr(first, last - first), ids);
      if (last == first) return encode_word(text.substr(at), ids);
      at = last;
    }
    if (at < text.size()) encode_word(text.substr(at), ids);
  }

  void encode_word(std::string_view word, std::vector<std::int32_t>& ids) {
    symbols_.clear();
    for (const char c : word) symbols_.push_back(byte_id_[static_cast<unsigned char>(c)]);
    for (;;) {
      Merge best{std::numeric_limits<std::int32_t>::max(), 0};
      std::size_t where = 0;
      for (std::size_t i = 0; i + 1 < symbols_.size(); ++i) {
        const auto at = merges_.find(pair_key(symbols_[i], symbols_[i + 1]));
        if (at == merges_.end() || at->second.rank >= best.rank) continue;
        best = at->second;
        where = i;
      }
      if (best.rank == std::numeric_limits<std::int32_t>::max()) break;
      symbols_[where] = best.id;
      symbols_.erase(symbols_.begin() + static_cast<std::ptrdiff_t>(where) + 1);
    }
    ids.insert(ids.end(), symbols_.begin(), symbols_.end());
  }

  Pattern pattern_;
  std::string hash_;
  bool nfc_ = false;
  std::unordered_map<std::string, std::int32_t> vocabulary_;
  std::unordered_map<std::uint64_t, Merge> merges_;
  std::array<std::int32_t, 256> byte_id_{};
  std::vector<AddedToken> added_;
  std::vector<std::int32_t> symbols_;
  std::int32_t size_ = 0;
};

}  // namespace

std::string byte_symbol(int byte) {
  // Printable Latin-1 bytes stand for themselves, the others for U+0100 on, in order.
  const auto printable_byte = [](int b) {
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  };
  char32_t code = static_cast<char32_t>(byte);
  if (!printable_byte(byte)) {
    code = 256;
    for (int b = 0; b < byte; ++b) code += printable_byte(b) ? 0 : 1;
  }
  std::string out;
  append_utf8(code, out);
  return out;
}

std::unique_ptr<Tokenizer> make_byte_bpe(ByteBpeModel model) {
  return std::make_unique<ByteBpe>(std::move(model));
}

}  // namespace tendon
