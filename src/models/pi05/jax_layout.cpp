#include "models/pi05/jax_layout.h"

#include <algorithm>
#include <vector>

#include "models/pi05/names.h"
#include "weights/stacked_layout.h"

namespace tendon::pi05 {
namespace {

using Leaf = StackedLeaf;

const std::string kEncoder = "PaliGemma/img/Transformer/encoderblock/";
const std::string kLayers = "PaliGemma/llm/layers/";

void add_vision(std::vector<Leaf>& leaves) {
  const std::string to = names::vision("encoder.layers.#.");
  const std::string embeddings = names::vision("embeddings.");
  const auto whole = [&](Leaf leaf) {
    leaf.stacked = false;
    leaves.push_back(std::move(leaf));
  };
  whole({"PaliGemma/img/embedding/kernel",
         embeddings + "patch_embedding.weight",
         {},
         {3, 2, 0, 1},
         -1});
  whole({"PaliGemma/img/embedding/bias", embeddings + "patch_embedding.bias", {}, {0}, 0});
  whole({"PaliGemma/img/pos_embedding", embeddings + "position_embedding.weight", {0}, {0, 1}, 1});
  for (const auto& [leaf, norm] :
       {std::pair{"LayerNorm_0/", "layer_norm1"}, std::pair{"LayerNorm_1/", "layer_norm2"}}) {
    leaves.push_back({kEncoder + leaf + "scale", to + norm + ".weight", {}, {0}, 0});
    leaves.push_back({kEncoder + leaf + "bias", to + norm + ".bias", {}, {0}, 0});
  }
  const std::string attention = kEncoder + "MultiHeadDotProductAttention_0/";
  for (const auto& [leaf, name] :
       {std::pair{"query", "q_proj"}, std::pair{"key", "k_proj"}, std::pair{"value", "v_proj"}}) {
    const std::string at = to + "self_attn." + name;
    leaves.push_back({attention + leaf + "/kernel", at + ".weight", {}, {1, 2, 0}, 2});
    leaves.push_back({attention + leaf + "/bias", at + ".bias", {}, {0, 1}, 0});
  }
  leaves.push_back({attention + "out/kernel", to + "self_attn.out_proj.weight", {}, {2, 0, 1}, 1});
  leaves.push_back({attention + "out/bias", to + "self_attn.out_proj.bias", {}, {0}, 0});
  for (const auto& [leaf, name] :
       {std::pair{"MlpBlock_0/Dense_0/", "mlp.fc1"}, std::pair{"MlpBlock_0/Dense_1/", "mlp.fc2"}}) {
    leaves.push_back({kEncoder + leaf + "kernel", to + name + ".weight", {}, {1, 0}, 1});
    leaves.push_back({kEncoder + leaf + "bias", to + name + ".bias", {}, {0}, 0});
  }
  const std::string norm = "PaliGemma/img/Transformer/encoder_norm/";
  whole({norm + "scale", names::vision("post_layernorm.weight"), {}, {0}, 0});
  whole({norm + "bias", names::vision("post_layernorm.bias"), {}, {0}, 0});
  whole({"PaliGemma/img/head/kernel", names::kProjector + ".weight", {}, {1, 0}, 1});
  whole({"PaliGemma/img/head/bias", names::kProjector + ".bias", {}, {0}, 0});
}

// A norm stored as a scale, or as the layer that makes its modulation.
void add_norm(std::vector<Leaf>& leaves, const std::string& leaf, const std::string& to,
              bool stacked) {
  leaves.push_back({leaf + "/scale", to + ".weight", {}, {0}, 0, stacked});
  leaves.push_back({leaf + "/Dense_0/kernel", to + ".dense.weight", {}, {1, 0}, 1, stacked});
  leaves.push_back({leaf + "/Dense_0/bias", to + ".dense.bias", {}, {0}, 0, stacked});
}

// One of the two stacks of layers; the expert's leaves carry a suffix.
void add_layers(std::vector<Leaf>& leaves, const std::string& suffix, const std::string& to) {
  const std::string attention = kLayers + "attn/", mlp = kLayers + "mlp" + suffix + "/";
  const std::string layer = to + "layers.#.";
  const std::string kv = attention + "kv_einsum" + suffix + "/w";
  leaves.push_back({attention + "q_einsum" + suffix + "/w",
                    layer + "self_attn.q_proj.weight",
                    {},
                    {0, 2, 1},
                    2});
  leaves.push_back({kv, layer + "self_attn.k_proj.weight", {0}, {0, 2, 1}, 2});
  leaves.push_back({kv, layer + "self_attn.v_proj.weight", {1}, {0, 2, 1}, 2});
  leaves.push_back({attention + "attn_vec_einsum" + suffix + "/w",
                    layer + "self_attn.o_proj.weight",
                    {},
                    {2, 0, 1},
                    1});
  leaves.push_back({mlp + "gating_einsum", layer + "mlp.gate_proj.weight", {0}, {1, 0}, 1});
  leaves.push_back({mlp + "gating_einsum", layer + "mlp.up_proj.weight", {1}, {1, 0}, 1});
  leaves.push_back({mlp + "linear", layer + "mlp.down_proj.weight", {}, {1, 0}, 1});
  add_norm(leaves, kLayers + "pre_attention_norm" + suffix, layer + "input_layernorm", true);
  add_norm(leaves, kLayers + "pre_ffw_norm" + suffix, layer + "post_attention_layernorm", true);
  add_norm(leaves, "PaliGemma/llm/final_norm" + suffix, to + "norm", false);
}

std::vector<Leaf> make_leaves() {
  std::vector<Leaf> leaves;
  add_vision(leaves);
  leaves.push_back(
      {"PaliGemma/llm/embedder/input_embedding", names::kTiedTable, {}, {0, 1}, 1, false});
  add_layers(leaves, "", names::prefix(""));
  add_layers(leaves, "_1", names::expert(""));
  for (const char* name : {"action_in_proj", "action_out_proj", "time_mlp_in", "time_mlp_out",
                           "state_proj", "action_time_mlp_in", "action_time_mlp_out"}) {
    const std::string at = name;
    leaves.push_back({at + "/kernel", at + ".weight", {}, {1, 0}, 1, false});
    leaves.push_back({at + "/bias", at + ".bias", {}, {0}, 0, false});
  }
  return leaves;
}

const std::vector<Leaf>& leaves() {
  static const std::vector<Leaf> all = make_leaves();
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
