#include "models/prefix_stack.h"

#include "base/text.h"

namespace tendon {

PrefixStack::PrefixStack(Layout layout, const ModelOptions& options)
    : layout_(std::move(layout)), options_(options), rows_(layout_.rows, options) {}

void PrefixStack::add_buffers(Program& program) {
  rows_.add_buffers(program);
  const std::int64_t positions = rows_.max_rows() + layout_.suffix, half = layout_.head_dim / 2;
  const nn::RopeTable rope = nn::rope_table(layout_.frequencies, positions);
  cos_ = program.constant("cos", DType::f32, {positions, half}, rope.cos);
  sin_ = program.constant("sin", DType::f32, {positions, half}, rope.sin);
  const Shape shape{options_.batch, rows_.max_rows(), layout_.kv_heads, layout_.head_dim};
  for (std::size_t i = 0; i < static_cast<std::size_t>(layout_.layers); ++i) {
    k_.push_back(program.add({numbered("k.#", i), layout_.key_type, shape}));
    v_.push_back(program.add({numbered("v.#", i), layout_.key_type, shape}));
  }
}

nn::KeyValue PrefixStack::cache(Trace& trace, std::size_t layer, const PrefixKey& key) const {
  const Shape shape{options_.batch, rows_.rows(key), layout_.kv_heads, layout_.head_dim};
  return {trace.buffer(k_[layer], shape), trace.buffer(v_[layer], shape)};
}

ops::Attention::Keys PrefixStack::keys(Trace& trace, std::size_t layer,
                                       const PrefixKey& key) const {
  const nn::KeyValue kv = cache(trace, layer, key);
  return rows_.keys(trace, kv.k, kv.v, key);
}

nn::Rotation PrefixStack::rotation(Trace& trace, Value positions) const {
  return {trace.buffer(cos_), trace.buffer(sin_), positions};
}

void PrefixStack::record(Trace& t, const PrefixKey& key, const Stage& stage) const {
  constexpr auto kPacked = Trace::TapRows::packed_prefix;
  const nn::Recorder r(t, options_.working, "prefix.");
  Value x = rows_.record(r, key, stage.table, stage.scale);  // [B, P, D]
  const Value positions = rows_.positions(t, key);
  t.tap(stage.embeddings, x, kPacked);
  t.tap("prefix.positions", positions, kPacked);
  t.tap("prefix.valid", rows_.lengths(t), kPacked);
  for (std::size_t i = 0; i < stage.layers.size(); ++i) {
    const nn::KeyValue kv = cache(t, i, key);
    x = nn::decoder_layer(
        r.at(std::to_string(i)), x, stage.layers[i],
        {.rotation = rotation(t, positions), .to = kv, .keys = {{rows_.keys(t, kv.k, kv.v, key)}}});
    t.tap(numbered(stage.keys, i), kv.k, kPacked);
    t.tap(numbered(stage.values, i), kv.v, kPacked);
    if (x) t.tap(numbered(stage.layer, i), x, kPacked);
  }
}

}  // namespace tendon
