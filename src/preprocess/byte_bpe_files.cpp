#include <charconv>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json_file.h"
#include "base/text.h"
#include "preprocess/byte_bpe.h"

namespace tendon {

using nlohmann::json;

const std::string_view kQwenPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

namespace {

json parse(std::string_view text, std::string_view origin) {
  try {
    return json::parse(text);
  } catch (const json::exception&) {
    fail("{}: no readable JSON", origin);
  }
}

// nlohmann's own exceptions speak of types; the reader wants the file's name.
template <class F>
auto reading(std::string_view origin, F&& work) {
  try {
    return work();
  } catch (const json::exception& e) {
    fail("{}: not in the form of a tokenizer: {}", origin, e.what());
  }
}

std::string_view type_of(const json& object) {
  if (!object.is_object()) return "";
  const auto at = object.find("type");
  return at != object.end() && at->is_string() ? std::string_view(at->get_ref<const std::string&>())
                                               : "";
}

// Applies `visit` to a step or to each step of a Sequence.
template <class F>
void each_step(const json& step, const char* list, F&& visit) {
  if (step.is_null()) return;
  if (type_of(step) != "Sequence") return visit(step);
  for (const json& inner : step.at(list)) visit(inner);
}

void read_normalizer(const json& config, ByteBpeModel& model) {
  each_step(config.value("normalizer", json()), "normalizers", [&](const json& step) {
    require(type_of(step) == "NFC", "{}: normalizer {} is not supported, only NFC", model.origin,
            type_of(step));
    model.nfc = true;
  });
}

void read_pre_tokenizer(const json& config, ByteBpeModel& model) {
  each_step(config.value("pre_tokenizer", json()), "pretokenizers", [&](const json& step) {
    const std::string_view type = type_of(step);
    if (type == "Split") {
      require(step.value("behavior", "") == "Isolated" && !step.value("invert", false) &&
                  step.at("pattern").contains("Regex") && model.pattern.empty(),
              "{}: this way of splitting words is not supported", model.origin);
      model.pattern = step.at("pattern").at("Regex").get<std::string>();
      return;
    }
    require(type == "ByteLevel" && !step.value("add_prefix_space", true) &&
                !step.value("use_regex", true),
            "{}: pre-tokenizer {} with these options is not supported", model.origin, type);
  });
  require(!model.pattern.empty(), "{}: it names no pattern that splits words", model.origin);
}

void read_merges(const json& merges, ByteBpeModel& model) {
  for (const json& item : merges) {
    if (item.is_string()) {
      const std::string text = item;
      const std::size_t blank = text.find(' ');
      require(blank != std::string::npos, "{}: merge {} is no pair", model.origin,
              model.merges.size());
      model.merges.emplace_back(text.substr(0, blank), text.substr(blank + 1));
    } else {
      require(item.is_array() && item.size() == 2, "{}: merge {} is no pair", model.origin,
              model.merges.size());
      model.merges.emplace_back(item[0].get<std::string>(), item[1].get<std::string>());
    }
  }
}

void read_added(const json& config, ByteBpeModel& model) {
  for (const json& token : config.value("added_tokens", json::array())) {
    const bool plain = !token.value("single_word", false) && !token.value("lstrip", false) &&
                       !token.value("rstrip", false) && !token.value("normalized", false);
    const std::string text = token.at("content").get<std::string>();
    require(plain, "{}: added token {} has options that are not supported", model.origin,
            printable(text));
    model.added.push_back({text, token.at("id").get<std::int32_t>()});
  }
}

}  // namespace

std::unique_ptr<Tokenizer> byte_bpe_from_json(std::string_view text, std::string_view origin) {
  const json config = parse(text, origin);
  ByteBpeModel model;
  model.origin = origin;
  model.hash = sha256_hex(text);
  reading(origin, [&] {
    const json& bpe = config.at("model");
    require(type_of(bpe) == "BPE",
            "{}: a tokenizer of type {} is not supported, only BPE over bytes", origin,
            type_of(bpe));
    require(!bpe.value("ignore_merges", false) && !bpe.value("byte_fallback", false),
            "{}: ignore_merges and byte_fallback are not supported", origin);
    read_normalizer(config, model);
    read_pre_tokenizer(config, model);
    for (const auto& [token, id] : bpe.at("vocab").items())
      model.vocabulary.emplace_back(token, id.get<int>());
    read_merges(bpe.at("merges"), model);
    read_added(config, model);
  });
  return make_byte_bpe(std::move(model));
}

namespace {

// Beside vocab.json: which ids are added tokens, {"151643": {"content": "<|endoftext|>"}}.
void read_tokenizer_config(const std::filesystem::path& file, ByteBpeModel& model) {
  if (!std::filesystem::is_regular_file(file)) return;
  const json config = read_json_file(file);
  reading(file.string(), [&] {
    const json added = config.value("added_tokens_decoder", json::object());
    for (const auto& [id, token] : added.items()) {
      std::int32_t number = -1;
      std::from_chars(id.data(), id.data() + id.size(), number);
      model.added.push_back({token.at("content").get<std::string>(), number});
    }
  });
}

}  // namespace

std::unique_ptr<Tokenizer> byte_bpe_from_files(const std::filesystem::path& vocab,
                                               const std::filesystem::path& merges) {
  ByteBpeModel model;
  model.origin = vocab.string();
  model.pattern = kQwenPattern;
  model.nfc = true;
  const std::string vocab_text = read_file(vocab), merges_text = read_file(merges);
  model.hash = sha256_hex(vocab_text + merges_text);
  const json entries = parse(vocab_text, model.origin);
  reading(model.origin, [&] {
    for (const auto& [token, id] : entries.items())
      model.vocabulary.emplace_back(token, id.get<int>());
  });
  for (std::string_view rest = merges_text; !rest.empty();) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || (model.merges.empty() && line.starts_with("#version"))) continue;
    const std::size_t blank = line.find(' ');
    require(blank != std::string_view::npos, "{}: \"{}\" is no merge", merges.string(),
            printable(line));
    model.merges.emplace_back(line.substr(0, blank), line.substr(blank + 1));
  }
  read_tokenizer_config(vocab.parent_path() / "tokenizer_config.json", model);
  return make_byte_bpe(std::move(model));
}

}  // namespace tendon
