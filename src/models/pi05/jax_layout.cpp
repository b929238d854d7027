
#include <algorithm>
#include <vector>

#include "models/pi05/names.h"
#include "weights/stacked_layout.h"

namespace tendon::pi05 {
namespace {

using Leaves = std::vector<StackedLeaf>;

void add_vision(Leaves& leaves) {
  LeafList whole(leaves, "PaliGemma/img/", "");
  const std::string embeddings = names::vision("embeddings.");
  whole.add("embedding/kernel", embeddings + "patch_embedding.weight", {{}, {3, 2, 0, 1}, -1});
  whole.vector("embedding/bias", embeddings + "patch_embedding.bias");
  whole.add("pos_embedding", embeddings + "position_embedding.weight", {{0}, {0, 1}, 1});
  whole.layer_norm("Transformer/encoder_norm", names::vision("post_layernorm"));
  whole.dense("head", names::kProjector);
  LeafList layer(leaves, "PaliGemma/img/Transformer/encoderblock/",
                 names::vision("encoder.layers.#."));
  layer.layer_norm("LayerNorm_0", "layer_norm1");
  layer.layer_norm("LayerNorm_1", "layer_norm2");
  layer.to_heads("MultiHeadDotProductAttention_0/query", "self_attn.q_proj");
  layer.to_heads("MultiHeadDotProductAttention_0/key", "self_attn.k_proj");
  layer.to_heads("MultiHeadDotProductAttention_0/value", "self_attn.v_proj");
  layer.from_heads("MultiHeadDotProductAttention_0/out", "self_attn.out_proj");
  layer.dense("MlpBlock_0/Dense_0", "mlp.fc1");
  layer.dense("MlpBlock_0/Dense_1", "mlp.fc2");
}

// A norm stored as a scale, or as the layer that makes its modulation.
void add_norm(LeafList& list, const std::string& leaf, const std::string& to) {
  list.vector(leaf + "/scale", to + ".weight");
  list.dense(leaf + "/Dense_0", to + ".dense");
}

// One of the two stacks of layers; the expert's leaves carry a suffix.
void add_layers(Leaves& leaves, const std::string& suffix, const std::string& to) {
  LeafList layer(leaves, "PaliGemma/llm/layers/", to + "layers.#.");
  const std::string kv = "attn/kv_einsum" + suffix + "/w", mlp = "mlp" + suffix + "/";
  layer.add("attn/q_einsum" + suffix + "/w", "self_attn.q_proj.weight", {{}, {0, 2, 1}, 2});
  layer.add(kv, "self_attn.k_proj.weight", {{0}, {0, 2, 1}, 2});
  layer.add(kv, "self_attn.v_proj.weight", {{1}, {0, 2, 1}, 2});
  layer.add("attn/attn_vec_einsum" + suffix + "/w", "self_attn.o_proj.weight", {{}, {2, 0, 1}, 1});
  layer.add(mlp + "gating_einsum", "mlp.gate_proj.weight", {{0}, {1, 0}, 1});
  layer.add(mlp + "gating_einsum", "mlp.up_proj.weight", {{1}, {1, 0}, 1});
  layer.matrix(mlp + "linear", "mlp.down_proj.weight");
  add_norm(layer, "pre_attention_norm" + suffix, "input_layernorm");
  add_norm(layer, "pre_ffw_norm" + suffix, "post_attention_layernorm");
  LeafList whole(leaves, "PaliGemma/llm/", to);
  add_norm(whole, "final_norm" + suffix, "norm");
}

Leaves make_leaves() {
  Leaves leaves;
  add_vision(leaves);
  LeafList whole(leaves, "", "");
  whole.add("PaliGemma/llm/embedder/input_embedding", names::kTiedTable, {{}, {0, 1}, 1});
  add_layers(leaves, "", names::prefix(""));
  add_layers(leaves, "_1", names::expert(""));
  for (const char* name : {"action_in_proj", "action_out_proj", "time_mlp_in", "time_mlp_out",
                           "state_proj", "action_time_mlp_in", "action_time_mlp_out"}) {
    whole.dense(name, name);
  }
  return leaves;
}

const Leaves& leaves() {
  static const Leaves all = make_leaves();
  return all;
}

}  // namespace

std::string published_name(std::string_view stored) {
  return tendon::published_name(leaves(), stored);
}

void define_from_jax(Checkpoint& checkpoint) {
  const auto& all = checkpoint.tensors();
  const bool tree = std::any_of(all.begin(), all.end(), [](const auto& t) {
    return leaf_name(t->name) == "PaliGemma/llm/embedder/input_embedding";
  });
  if (tree) define_published(leaves(), checkpoint);
}

}  // namespace tendon::pi05
