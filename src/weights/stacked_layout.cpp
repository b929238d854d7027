#include "weights/stacked_layout.h"

#include <algorithm>
#include <map>

#include "base/error.h"

namespace tendon {
namespace {

Shape published_shape(const StackedLeaf& leaf, const Shape& view) {
  if (leaf.row_dimensions < 0) return view;
  Shape shape;
  if (leaf.row_dimensions == 0) {
    shape.push_back(view.numel());
    return shape;
  }
  std::int64_t rows = 1;
  for (int i = 0; i < leaf.row_dimensions; ++i) rows *= view[i];
  shape.push_back(rows);
  shape.push_back(rows ? view.numel() / rows : 0);
  return shape;
}

void define(Checkpoint& checkpoint, const StackedLeaf& leaf, const std::string& stored,
            const Shape& shape) {
  const int extra = static_cast<int>(leaf.select.size()) + (leaf.stacked ? 1 : 0);
  require(shape.rank() == extra + static_cast<int>(leaf.order.size()),
          "{}: leaf '{}' {} should have {} dimensions", checkpoint.origin(), stored, shape.str(),
          extra + static_cast<int>(leaf.order.size()));
  const std::int64_t layers = leaf.stacked ? shape[0] : 1;
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    TensorView view(shape);
    if (leaf.stacked) view = view.select(0, layer);
    for (const std::int64_t index : leaf.select) view = view.select(0, index);
    view = view.permute(leaf.order);
    std::string name = leaf.published;
    if (leaf.stacked) name.replace(name.find('#'), 1, std::to_string(layer));
    checkpoint.define(std::move(name), stored, view, published_shape(leaf, view.shape()));
  }
}

}  // namespace

void LeafList::add(const std::string& leaf, const std::string& to, How how) {
  const bool stacked = to_.find('#') != std::string::npos;
  leaves_.push_back(
      {from_ + leaf, to_ + to, std::move(how.select), std::move(how.order), how.rows, stacked});
}

void LeafList::dense(const std::string& leaf, const std::string& to) {
  matrix(leaf + "/kernel", to + ".weight");
  vector(leaf + "/bias", to + ".bias");
}

void LeafList::layer_norm(const std::string& leaf, const std::string& to) {
  vector(leaf + "/scale", to + ".weight");
  vector(leaf + "/bias", to + ".bias");
}

void LeafList::to_heads(const std::string& leaf, const std::string& to) {
  add(leaf + "/kernel", to + ".weight", {{}, {1, 2, 0}, 2});
  add(leaf + "/bias", to + ".bias", {{}, {0, 1}, 0});
}

void LeafList::from_heads(const std::string& leaf, const std::string& to) {
  add(leaf + "/kernel", to + ".weight", {{}, {2, 0, 1}, 1});
  vector(leaf + "/bias", to + ".bias");
}

std::string leaf_name(std::string_view stored) {
  std::string leaf(stored);
  std::replace(leaf.begin(), leaf.end(), '.', '/');
  if (leaf.starts_with("params/")) leaf.erase(0, 7);
  if (leaf.ends_with("/value")) leaf.resize(leaf.size() - 6);
  return leaf;
}

std::string published_name(std::span<const StackedLeaf> leaves, std::string_view stored) {
  const std::string leaf = leaf_name(stored);
  for (const StackedLeaf& l : leaves) {
    if (l.name == leaf && !l.stacked) return l.published;
  }
  return {};
}

void define_published(std::span<const StackedLeaf> leaves, Checkpoint& checkpoint) {
  std::map<std::string, std::string> stored;  // leaf -> the checkpoint's name
  for (const auto& t : checkpoint.tensors()) stored.emplace(leaf_name(t->name), t->name);
  for (const StackedLeaf& leaf : leaves) {
    const auto at = stored.find(leaf.name);
    if (at == stored.end()) continue;  // the model names what it misses
    define(checkpoint, leaf, at->second, checkpoint.find(at->second)->shape);
  }
}

}  // namespace tendon
