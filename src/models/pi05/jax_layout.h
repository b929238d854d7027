// The tensor tree of the original JAX checkpoints, saved as safetensors: layers stacked, matrices
// transposed.
#pragma once

#include "weights/checkpoint.h"

namespace tendon::pi05 {

// Brings leaf names to one spelling ("PaliGemma/llm/embedder/input_embedding"): parts joined by
// slashes or dots, an optional "params" before and an optional "value" after them.
std::string jax_leaf(std::string_view name);

// The published name of a leaf that is one tensor; empty: a stack of layers, or no leaf of the
// tree.
std::string published_name(std::string_view name);

// Gives every leaf of the tree in `checkpoint` its published names; no effect on other layouts.
// Throws Error where a leaf has not the dimensions it should have.
void define_from_jax(Checkpoint& checkpoint);

}  // namespace tendon::pi05
