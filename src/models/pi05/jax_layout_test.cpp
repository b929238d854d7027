
#include <algorithm>
#include <filesystem>
#include <functional>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "models/family.h"
#include "models/pi05/names.h"
#include "tendon/error.h"
#include "weights/safetensors_header.h"
#include "weights/scope.h"
#include "weights/stacked_layout.h"
#include "weights/synthetic.h"

namespace tendon::pi05 {
namespace {

namespace fs = std::filesystem;

// The published layout's own sizes: names, shapes, header and one tied name, to the byte.
TEST(PublishedLayout, FilesHaveThePublishedSizes) {
  struct Published {
    const char* family;
    std::size_t tensors;
    std::uint64_t f32, bf16;
  };
  for (const Published& p : {Published{"pi05", 812, 14467165872, 7233650408},
                             Published{"pi0", 777, 14005618584, 7002873776}}) {
    const Family& f = family(p.family);
    std::vector<TensorSpec> specs = f.tensors(f.full_dims());
    EXPECT_EQ(specs.size(), p.tensors);
    std::sort(specs.begin(), specs.end(),
              [](const TensorSpec& a, const TensorSpec& b) { return a.name < b.name; });
    for (const auto& [dtype, size] :
         {std::pair{DType::f32, p.f32}, std::pair{DType::bf16, p.bf16}}) {
      for (TensorSpec& t : specs) t.dtype = dtype;
      EXPECT_EQ(lay_out_safetensors(specs, {{names::kTokenTable, names::kTiedTable}}).file_size,
                size);
    }
  }
}

// Writes the tree of the JAX model from the values of the published layout, by the index formulas
// of the layout's description.
class Tree {
 public:
  Tree(const Family& family, const nlohmann::json& dims)
      : checkpoint_(synthetic_checkpoint(family.tensors(dims), {.factors = family.factors})) {}

  using Index = std::vector<std::int64_t>;
  // A leaf whose element at an index is element `to(index)` of the published tensor it names.
  struct Place {
    std::string tensor;
    Index index;
  };
  void add(const std::string& leaf, const Shape& shape,
           const std::function<Place(const Index&)>& to) {
    std::vector<float> values;
    Index index(static_cast<std::size_t>(shape.rank()), 0);
    for (std::int64_t n = 0; n < shape.numel(); ++n) {
      values.push_back(at(to(index)));
      for (int i = shape.rank(); i-- > 0 && ++index[static_cast<std::size_t>(i)] == shape[i];) {
        index[static_cast<std::size_t>(i)] = 0;
      }
    }
    specs_.push_back({leaf, DType::f32, shape, ""});
    values_.push_back(std::move(values));
  }
  void add_plain(const std::string& leaf, const std::string& tensor) {
    const Shape shape = checkpoint_.find(tensor)->shape;
    add(leaf, shape, [&](const Index& i) { return Place{tensor, i}; });
  }
  void add_transposed(const std::string& leaf, const std::string& tensor) {
    const Shape s = checkpoint_.find(tensor)->shape;
    add(leaf, {s[1], s[0]}, [&](const Index& i) { return Place{tensor, {i[1], i[0]}}; });
  }
  Checkpoint save(const fs::path& folder) const {
    SafetensorsWriter writer(folder / "model.safetensors", specs_);
    for (std::size_t i = 0; i < specs_.size(); ++i) {
      writer.write(i, 0, std::as_bytes(std::span(values_[i])));
    }
    writer.finish();
    return Checkpoint(Safetensors::open(folder));
  }
  const Checkpoint& published() const { return checkpoint_; }
  std::size_t leaves() const { return specs_.size(); }

 private:
  float at(const Place& place) const {
    const CheckpointTensor* t = checkpoint_.find(place.tensor);
    if (!t) throw Error("no tensor " + place.tensor);
    std::int64_t flat = 0;
    for (int i = 0; i < t->shape.rank(); ++i) flat = flat * t->shape[i] + place.index.at(i);
    float value = 0;
    t->source->read(flat, 1, 1, &value);
    return value;
  }

  Checkpoint checkpoint_;
  std::vector<TensorSpec> specs_;
  std::vector<std::vector<float>> values_;
};

using Index = Tree::Index;
using Place = Tree::Place;

std::string layer(const std::string& stack, std::int64_t i, const char* rest) {
  return stack + std::to_string(i) + "." + rest;
}

struct Dims {
  std::int64_t vision, heads, vision_layers, vision_mlp, patch, layers, q_heads, head;
  explicit Dims(const nlohmann::json& d)
      : vision(d["vision_width"]),
        heads(d["vision_heads"]),
        vision_layers(d["vision_layers"]),
        vision_mlp(d["vision_mlp"]),
        patch(d["patch"]),
        layers(d["layers"]),
        q_heads(d["q_heads"]),
        head(d["head_dim"]) {}
};

void add_vision(Tree& tree, const Dims& d) {
  const std::string to = names::vision("encoder.layers.");
  const std::string block = "PaliGemma/img/Transformer/encoderblock/";
  const std::int64_t n = d.vision_layers, w = d.vision, dh = w / d.heads;
  tree.add("PaliGemma/img/embedding/kernel", {d.patch, d.patch, 3, w}, [&](const Index& i) {
    return Place{names::vision("embeddings.patch_embedding.weight"), {i[3], i[2], i[0], i[1]}};
  });
  tree.add_plain("PaliGemma/img/embedding/bias", names::vision("embeddings.patch_embedding.bias"));
  const std::string positions = names::vision("embeddings.position_embedding.weight");
  tree.add("PaliGemma/img/pos_embedding", {1, tree.published().find(positions)->shape[0], w},
           [&](const Index& i) {
             return Place{positions, {i[1], i[2]}};
           });
  const auto vector = [&](const std::string& leaf, const char* name, std::int64_t width) {
    tree.add(block + leaf, {n, width}, [&](const Index& i) {
      return Place{layer(to, i[0], name), {i[1]}};
    });
  };
  const auto transposed = [&](const std::string& leaf, const char* name, const Shape& shape) {
    tree.add(block + leaf, shape, [&](const Index& i) {
      return Place{layer(to, i[0], name), {i[2], i[1]}};
    });
  };
  vector("LayerNorm_0/scale", "layer_norm1.weight", w);
  vector("LayerNorm_0/bias", "layer_norm1.bias", w);
  vector("LayerNorm_1/scale", "layer_norm2.weight", w);
  vector("LayerNorm_1/bias", "layer_norm2.bias", w);
  const std::string mha = "MultiHeadDotProductAttention_0/";
  for (const auto& [leaf, name] : {std::pair{"query", "q"}, {"key", "k"}, {"value", "v"}}) {
    const std::string at = std::string("self_attn.") + name + "_proj.";
    tree.add(block + mha + leaf + "/kernel", {n, w, d.heads, dh}, [&](const Index& i) {
      return Place{layer(to, i[0], (at + "weight").c_str()), {i[2] * dh + i[3], i[1]}};
    });
    tree.add(block + mha + leaf + "/bias", {n, d.heads, dh}, [&](const Index& i) {
      return Place{layer(to, i[0], (at + "bias").c_str()), {i[1] * dh + i[2]}};
    });
  }
  tree.add(block + mha + "out/kernel", {n, d.heads, dh, w}, [&](const Index& i) {
    return Place{layer(to, i[0], "self_attn.out_proj.weight"), {i[3], i[1] * dh + i[2]}};
  });
  vector(mha + "out/bias", "self_attn.out_proj.bias", w);
  transposed("MlpBlock_0/Dense_0/kernel", "mlp.fc1.weight", {n, w, d.vision_mlp});
  vector("MlpBlock_0/Dense_0/bias", "mlp.fc1.bias", d.vision_mlp);
  transposed("MlpBlock_0/Dense_1/kernel", "mlp.fc2.weight", {n, d.vision_mlp, w});
  vector("MlpBlock_0/Dense_1/bias", "mlp.fc2.bias", w);
  tree.add_plain("PaliGemma/img/Transformer/encoder_norm/scale",
                 names::vision("post_layernorm.weight"));
  tree.add_plain("PaliGemma/img/Transformer/encoder_norm/bias",
                 names::vision("post_layernorm.bias"));
  tree.add_transposed("PaliGemma/img/head/kernel", names::kProjector + ".weight");
  tree.add_plain("PaliGemma/img/head/bias", names::kProjector + ".bias");
}

// The two stacks differ by suffix, names, widths and whether norms are modulated.
struct Stack {
  std::string suffix, to;
  std::int64_t width, mlp;
  bool adaptive;
};

void add_stack(Tree& tree, const Dims& d, const Stack& s) {
  const std::string leaf = "PaliGemma/llm/layers/", to = s.to + "layers.";
  const std::int64_t n = d.layers, w = s.width, h = d.head;
  tree.add(leaf + "attn/q_einsum" + s.suffix + "/w", {n, d.q_heads, w, h}, [&](const Index& i) {
    return Place{layer(to, i[0], "self_attn.q_proj.weight"), {i[1] * h + i[3], i[2]}};
  });
  tree.add(leaf + "attn/kv_einsum" + s.suffix + "/w", {n, 2, 1, w, h}, [&](const Index& i) {
    const char* name = i[1] ? "self_attn.v_proj.weight" : "self_attn.k_proj.weight";
    return Place{layer(to, i[0], name), {i[4], i[3]}};
  });
  tree.add(leaf + "attn/attn_vec_einsum" + s.suffix + "/w", {n, d.q_heads, h, w},
           [&](const Index& i) {
             return Place{layer(to, i[0], "self_attn.o_proj.weight"), {i[3], i[1] * h + i[2]}};
           });
  tree.add(leaf + "mlp" + s.suffix + "/gating_einsum", {n, 2, w, s.mlp}, [&](const Index& i) {
    const char* name = i[1] ? "mlp.up_proj.weight" : "mlp.gate_proj.weight";
    return Place{layer(to, i[0], name), {i[3], i[2]}};
  });
  tree.add(leaf + "mlp" + s.suffix + "/linear", {n, s.mlp, w}, [&](const Index& i) {
    return Place{layer(to, i[0], "mlp.down_proj.weight"), {i[2], i[1]}};
  });
  for (const auto& [norm, name] : {std::pair{"pre_attention_norm", "input_layernorm."},
                                   {"pre_ffw_norm", "post_attention_layernorm."}}) {
    const std::string at = leaf + norm + s.suffix, tensor = name;
    if (!s.adaptive) {
      tree.add(at + "/scale", {n, w}, [&](const Index& i) {
        return Place{layer(to, i[0], (tensor + "weight").c_str()), {i[1]}};
      });
      continue;
    }
    tree.add(at + "/Dense_0/kernel", {n, w, 3 * w}, [&](const Index& i) {
      return Place{layer(to, i[0], (tensor + "dense.weight").c_str()), {i[2], i[1]}};
    });
    tree.add(at + "/Dense_0/bias", {n, 3 * w}, [&](const Index& i) {
      return Place{layer(to, i[0], (tensor + "dense.bias").c_str()), {i[1]}};
    });
  }
  const std::string last = "PaliGemma/llm/final_norm" + s.suffix;
  if (s.adaptive) {
    tree.add_transposed(last + "/Dense_0/kernel", s.to + "norm.dense.weight");
    tree.add_plain(last + "/Dense_0/bias", s.to + "norm.dense.bias");
  } else {
    tree.add_plain(last + "/scale", s.to + "norm.weight");
  }
}

class JaxLayout : public ::testing::TestWithParam<bool> {};

TEST_P(JaxLayout, GivesThePublishedTensors) {
  const bool adaptive = GetParam();
  const Family& f = family(adaptive ? "pi05" : "pi0");
  const nlohmann::json dims = f.mini_dims();
  const Dims d(dims);
  Tree tree(f, dims);
  add_vision(tree, d);
  tree.add_plain("PaliGemma/llm/embedder/input_embedding", names::kTiedTable);
  add_stack(tree, d, {"", names::prefix(""), dims["prefix_width"], dims["prefix_mlp"], false});
  add_stack(tree, d, {"_1", names::expert(""), dims["expert_width"], dims["expert_mlp"], adaptive});
  for (const std::string name : {"action_in_proj", "action_out_proj", "time_mlp_in", "time_mlp_out",
                                 "state_proj", "action_time_mlp_in", "action_time_mlp_out"}) {
    if (!tree.published().has(name + ".weight")) continue;
    tree.add_transposed(name + "/kernel", name + ".weight");
    tree.add_plain(name + "/bias", name + ".bias");
  }
  EXPECT_EQ(tree.leaves(), adaptive ? 51u : 50u);  // what the original model's tree has

  const fs::path folder =
      fs::path(::testing::TempDir()) / (adaptive ? "tendon_jax5" : "tendon_jax0");
  fs::create_directories(folder);
  Checkpoint checkpoint = tree.save(folder);
  define_from_jax(checkpoint);
  Binder binder(checkpoint);
  std::vector<std::string> differing;
  for (const auto& t : tree.published().tensors()) {
    if (t->name == names::kExpertHead) continue;  // random, unused, and not in the tree
    std::vector<float> expected(static_cast<std::size_t>(t->shape.numel()));
    t->source->read(0, 1, t->shape.numel(), expected.data());
    if (binder.root().values(t->name, t->shape) != expected) differing.push_back(t->name);
  }
  EXPECT_EQ(differing, std::vector<std::string>{});
  EXPECT_NO_THROW(binder.finish({}));  // none missing, none left over
  fs::remove_all(folder);
}

INSTANTIATE_TEST_SUITE_P(Families, JaxLayout, ::testing::Bool());

TEST(JaxLayoutNames, SpellingsAreOne) {
  EXPECT_EQ(leaf_name("params.PaliGemma.img.head.kernel.value"), "PaliGemma/img/head/kernel");
  EXPECT_EQ(published_name("params/time_mlp_in/kernel"), "time_mlp_in.weight");
  EXPECT_EQ(published_name("PaliGemma/img/head/bias/value"), names::kProjector + ".bias");
  EXPECT_EQ(published_name("PaliGemma/llm/layers/attn/kv_einsum_1/w/value"), "");
  EXPECT_EQ(published_name("time_mlp_in.weight"), "");
}

TEST(JaxLayoutNames, OtherLayoutsAreLeftAlone) {
  const Family& f = family("pi05");
  Checkpoint checkpoint = synthetic_checkpoint(f.tensors(f.mini_dims()), {});
  const std::size_t before = checkpoint.tensors().size();
  define_from_jax(checkpoint);
  EXPECT_EQ(checkpoint.tensors().size(), before);
}

}  // namespace
}  // namespace tendon::pi05
