// Layouts that stack the layers of a network in one tensor and store matrices the other way around,
// as trees of JAX models do.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weights/checkpoint.h"

namespace tendon {

// A leaf of the tree. Of each layer, or of the one tensor where not stacked: entries that are
// selected, the order of the dimensions that are left, and how many of them, reordered, make the
// rows of the published matrix.
struct StackedLeaf {
  std::string name, published;  // "#": the layer's number
  std::vector<std::int64_t> select;
  std::vector<int> order;
  int row_dimensions = 0;  // 0: a vector; -1: the shape as it is
  bool stacked = true;
};

// Collects leaves as the modules of Flax name them. Matrices there are [inputs, outputs].
class LeafList {
 public:
  // Below both names: layers where `to` has a #, else single tensors.
  LeafList(std::vector<StackedLeaf>& leaves, std::string from, std::string to)
      : leaves_(leaves), from_(std::move(from)), to_(std::move(to)) {}

  struct How {
    std::vector<std::int64_t> select = {};
    std::vector<int> order = {0};
    int rows = 0;  // see StackedLeaf::row_dimensions
  };
  void add(const std::string& leaf, const std::string& to, How how);
  void vector(const std::string& leaf, const std::string& to) { add(leaf, to, {}); }
  void matrix(const std::string& leaf, const std::string& to) { add(leaf, to, {{}, {1, 0}, 1}); }
  // LEAF/kernel and LEAF/bias; LEAF/scale and, for layer norms, LEAF/bias.
  void dense(const std::string& leaf, const std::string& to);
  void layer_norm(const std::string& leaf, const std::string& to);
  // A dense layer to heads [inputs, heads, width]; back from them [heads, width, outputs].
  void to_heads(const std::string& leaf, const std::string& to);
  void from_heads(const std::string& leaf, const std::string& to);

 private:
  std::vector<StackedLeaf>& leaves_;
  std::string from_, to_;
};

// Brings leaf names to one spelling ("llm/embedder/input_embedding"): parts joined by slashes or
// dots, an optional "params" before and an optional "value" after them.
std::string leaf_name(std::string_view stored);

// The published name of a leaf that is one tensor; empty: a stack of layers, or no leaf.
std::string published_name(std::span<const StackedLeaf> leaves, std::string_view stored);

// Gives every leaf that is in `checkpoint` its published names. Throws Error where a leaf has not
// the dimensions it should have.
void define_published(std::span<const StackedLeaf> leaves, Checkpoint& checkpoint);

}  // namespace tendon
