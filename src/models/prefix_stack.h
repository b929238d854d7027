// The language stack that reads [images | text] once per observation and leaves its keys and values
// to an action expert: its rows, rotary tables, caches and traces.
#pragma once

#include <span>
#include <vector>

#include "models/prefix_rows.h"
#include "nn/decoder.h"
#include "nn/tables.h"

namespace tendon {

class PrefixStack {
 public:
  struct Layout {
    PrefixRows::Layout rows;
    std::int64_t layers = 0, kv_heads = 0, head_dim = 0;
    std::int64_t suffix = 0;         // positions that follow a prefix
    std::vector<float> frequencies;  // of the rotation
    DType key_type = DType::bf16;    // of keys and values
  };
  PrefixStack(Layout layout, const ModelOptions& options);

  void add_buffers(Program& program);

  // What a family's stack holds and how recordings call what it shows; # is a layer's number.
  struct Stage {
    std::span<const nn::DecoderLayer> layers;
    WeightRef table;
    float scale = 1.0f;  // of token embeddings
    const char *embeddings, *keys, *values, *layer;
  };
  void record(Trace& t, const PrefixKey& key, const Stage& stage) const;

  // For an expert that attends to the prefix.
  ops::Attention::Keys keys(Trace& trace, std::size_t layer, const PrefixKey& key) const;
  nn::Rotation rotation(Trace& trace, Value positions) const;

  DType key_type() const { return layout_.key_type; }
  PrefixRows& rows() { return rows_; }
  const PrefixRows& rows() const { return rows_; }

 private:
  nn::KeyValue cache(Trace& trace, std::size_t layer, const PrefixKey& key) const;

  Layout layout_;
  ModelOptions options_;
  PrefixRows rows_;
  std::vector<BufferRef> k_, v_;  // a layer: [B, P, Hk, Dh]
  BufferRef cos_, sin_;           // f32 [positions, Dh / 2]
};

}  // namespace tendon
