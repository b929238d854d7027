// Names and shapes of the published file.
#include "base/error.h"
#include "models/umt5/umt5.h"

namespace tendon::umt5 {

Config config_of(const Checkpoint& c) {
  auto shape = [&](const std::string& name) {
    const CheckpointTensor* tensor = c.find("text:" + name);
    require(tensor != nullptr, "{}: the text encoder's {} is missing", c.origin(), name);
    return tensor->shape;
  };
  const Shape gate = shape("blocks.0.ffn.gate.0.weight");
  const Shape position = shape("blocks.0.pos_embedding.embedding.weight");
  const bool own = c.has("text:token_embedding.weight");
  Config t;
  t.vocab = shape(own ? "token_embedding.weight" : "encoder.embed_tokens.weight")[0];
  t.ffn = gate[0], t.width = gate[1];
  t.buckets = position[0], t.heads = position[1];
  t.attention = shape("blocks.0.attn.q.weight")[0];
  t.layers = 0;
  while (c.has("text:blocks." + std::to_string(t.layers) + ".norm1.weight")) ++t.layers;
  return t;
}

void add_tensors(const Config& t, std::vector<TensorSpec>& to) {
  auto add = [&](const std::string& name, const Shape& shape) {
    to.push_back({"text:" + name, DType::bf16, shape, name});
  };
  add("token_embedding.weight", {t.vocab, t.width});
  for (std::int64_t i = 0; i < t.layers; ++i) {
    const std::string at = "blocks." + std::to_string(i) + ".";
    add(at + "norm1.weight", {t.width});
    for (const char* p : {"q", "k", "v"}) {
      add(at + "attn." + p + ".weight", {t.attention, t.width});
    }
    add(at + "attn.o.weight", {t.width, t.attention});
    add(at + "norm2.weight", {t.width});
    add(at + "ffn.gate.0.weight", {t.ffn, t.width});
    add(at + "ffn.fc1.weight", {t.ffn, t.width});
    add(at + "ffn.fc2.weight", {t.width, t.ffn});
    add(at + "pos_embedding.embedding.weight", {t.buckets, t.heads});
  }
  add("norm.weight", {t.width});
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
