// Names and shapes of the published file.
#include "models/published.h"
#include "models/umt5/umt5.h"

namespace tendon::umt5 {

Config config_of(const Checkpoint& c) {
  const CheckpointShapes shapes(c, "the text encoder's file is not whole", "text:");
  const Shape& gate = shapes.of("blocks.0.ffn.gate.0.weight");
  const Shape& position = shapes.of("blocks.0.pos_embedding.embedding.weight");
  const bool own = shapes.has("token_embedding.weight");
  Config t;
  t.vocab = shapes.of(own ? "token_embedding.weight" : "encoder.embed_tokens.weight")[0];
  t.ffn = gate[0], t.width = gate[1];
  t.buckets = position[0], t.heads = position[1];
  t.attention = shapes.of("blocks.0.attn.q.weight")[0];
  t.layers = shapes.count("blocks.#.norm1.weight");
  return t;
}

std::vector<TensorSpec> tensors(const Config& t) {
  TensorList s(DType::bf16, "text:");
  s.add("token_embedding.weight", {t.vocab, t.width});
  for (std::int64_t i = 0; i < t.layers; ++i) {
    const std::string at = "blocks." + std::to_string(i) + ".";
    s.add(at + "norm1.weight", {t.width});
    for (const char* p : {"q", "k", "v"}) {
      s.add(at + "attn." + p + ".weight", {t.attention, t.width});
    }
    s.add(at + "attn.o.weight", {t.width, t.attention});
    s.add(at + "norm2.weight", {t.width});
    s.add(at + "ffn.gate.0.weight", {t.ffn, t.width});
    s.add(at + "ffn.fc1.weight", {t.ffn, t.width});
    s.add(at + "ffn.fc2.weight", {t.width, t.ffn});
    s.add(at + "pos_embedding.embedding.weight", {t.buckets, t.heads});
  }
  s.add("norm.weight", {t.width});
  return s.take();
}

std::vector<NameRule> name_rules() {
  const std::string block = "encoder.block.*.layer.";
  return {
      {"shared.weight", "token_embedding.weight"},
      {block + "0.SelfAttention.relative_attention_bias.*", "blocks.$1.pos_embedding.embedding.$2"},
      {block + "0.SelfAttention.*", "blocks.$1.attn.$2"},
      {block + "0.layer_norm.*", "blocks.$1.norm1.$2"},
      {block + "1.layer_norm.*", "blocks.$1.norm2.$2"},
      {block + "1.DenseReluDense.wi_0.*", "blocks.$1.ffn.gate.0.$2"},
      {block + "1.DenseReluDense.wi_1.*", "blocks.$1.ffn.fc1.$2"},
      {block + "1.DenseReluDense.wo.*", "blocks.$1.ffn.fc2.$2"},
      {"encoder.final_layer_norm.*", "norm.$1"}};
}

}  // namespace tendon::umt5
