#include <sentencepiece_processor.h>

#include "base/error.h"
#include "base/hash.h"
#include "preprocess/text.h"
#include "preprocess/tokenizer.h"

namespace tendon {

namespace {

class SentencePiece final : public Tokenizer {
 public:
  SentencePiece(std::string_view model, std::string_view origin) : hash_(sha256_hex(model)) {
    const auto status = processor_.LoadFromSerializedProto({model.data(), model.size()});
    require(status.ok() && processor_.GetPieceSize() > 0, "{}: no readable SentencePiece model: {}",
            origin, status.ok() ? "it has no pieces" : status.message());
  }

  void encode(std::string_view text, std::vector<std::int32_t>& ids) override {
    require_utf8(text, "text");
    const auto status = processor_.Encode({text.data(), text.size()}, &scratch_);
    require(status.ok(), "SentencePiece could not encode the text: {}", status.message());
    ids.insert(ids.end(), scratch_.begin(), scratch_.end());
  }
  std::int32_t vocabulary() const override { return processor_.GetPieceSize(); }
  std::int32_t id_of(std::string_view name) const override {
    const int id = processor_.PieceToId({name.data(), name.size()});
    return processor_.IdToPiece(id) == name ? id : -1;
  }
  const std::string& content_hash() const override { return hash_; }

 private:
  sentencepiece::SentencePieceProcessor processor_;
  std::vector<int> scratch_;
  std::string hash_;
};

}  // namespace

std::unique_ptr<Tokenizer> sentencepiece_from_bytes(std::string_view model,
                                                    std::string_view origin) {
  return std::make_unique<SentencePiece>(model, origin);
}

}  // namespace tendon
