// The rows of a vision-language prefix: image tokens of the cameras that are there, then the
// prompt's tokens, packed to the front of each sample. Shared by models whose prefix is [images |
// text].
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/model.h"
#include "nn/recorder.h"

namespace tendon {

// What a prefix is planned for, per sample.
struct PrefixKey {
  int cameras = 0, tokens = 0;
};

class PrefixRows {
 public:
  // `image_rows`: tokens of one camera; `slots`: cameras that the unpruned layout has.
  struct Layout {
    std::int64_t image_rows = 0, slots = 0, width = 0;
  };
  PrefixRows(const Layout& layout, const ModelOptions& options);

  // Recording.
  void add_buffers(Program& program);
  int rows(const PrefixKey& key) const;  // P
  int max_rows() const;
  // Where the vision stage puts the tokens of `cameras` cameras of a call: [cameras, image_rows,
  // D].
  Value image_tokens(Trace& trace, int cameras) const;
  // Embeds the ids (times `scale`) and packs: [B, P, D].
  Value record(const nn::Recorder& r, const PrefixKey& key, WeightRef table, float scale) const;
  Value positions(Trace& trace, const PrefixKey& key) const;  // i32 [B, P]
  // i32 [B]: rows that are attended to. A packed tap of one number a sample stands for the mask.
  Value lengths(Trace& trace) const { return trace.buffer(lengths_); }
  // Keys and values of prefix rows, with what hides the rows that are none.
  ops::Attention::Keys keys(Trace& trace, Value k, Value v, const PrefixKey& key) const;

  // The smallest planned key that holds a call; a Status where none does.
  Status fit(const ModelInput& input, PrefixKey& key) const noexcept;
  // Place of a planned key in (camera count, token bucket) order.
  std::size_t index(const PrefixKey& key) const noexcept;
  void write(const ModelInput& input, const PrefixKey& key, StageRunner& runner) noexcept;
  // Valid rows of each sample of the last write().
  std::span<const std::int32_t> valid() const noexcept { return valid_; }

 private:
  void pack(const ModelInput& input, std::size_t sample, const PrefixKey& key,
            int& camera) noexcept;

  Layout layout_;
  ModelOptions options_;
  BufferRef parts_;      // working [V * N + B * T, D]: image tokens, then text tokens
  BufferRef ids_;        // i32 [B, T]
  BufferRef packing_;    // i32 [B, P]: row of parts_, -1 for none
  BufferRef positions_;  // i32 [B, P]
  BufferRef lengths_;    // i32 [B]: rows to be attended to
  BufferRef bias_;       // f32 [B, P]: hides rows in between; only where masked rows are kept
  std::vector<std::int32_t> host_ids_, host_packing_, host_positions_, host_lengths_, valid_;
  std::vector<float> host_bias_;
};

}  // namespace tendon
