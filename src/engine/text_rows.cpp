#include "engine/text_rows.h"

#include "base/error.h"

namespace tendon {
namespace {

class FixedRows final : public TextRows {
 public:
  explicit FixedRows(std::vector<float> rows) : rows_(std::move(rows)) {}
  std::vector<float> rows(std::span<const std::int32_t>) override { return rows_; }

 private:
  std::vector<float> rows_;
};

class EncodedRows final : public TextRows {
 public:
  explicit EncodedRows(TextRowsParts parts) : parts_(std::move(parts)) {
    if (!parts_.cache.empty()) cache_.emplace(parts_.cache, parts_.encoder_name, parts_.width);
  }

  std::vector<float> rows(std::span<const std::int32_t> ids) override {
    if (cache_) {
      if (auto kept = cache_->find(ids)) return std::move(*kept);
    }
    std::vector<float> rows = parts_.encoder->encode(ids, *parts_.backend);
    if (cache_) cache_->store(ids, rows);
    return rows;
  }

 private:
  TextRowsParts parts_;
  std::optional<ContextCache> cache_;
};

}  // namespace

std::unique_ptr<TextRows> make_text_rows(TextRowsParts parts) {
  if (!parts.file.empty()) {
    return std::make_unique<FixedRows>(read_context(parts.file, parts.width));
  }
  require(parts.encoder != nullptr,
          "the checkpoint has no text encoder: put its weights (text.safetensors) beside the "
          "policy's, or "
          "pass a file of text rows (--context)");
  return std::make_unique<EncodedRows>(std::move(parts));
}

}  // namespace tendon
