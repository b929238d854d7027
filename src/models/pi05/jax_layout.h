// The tensor tree of the original JAX checkpoints, saved as safetensors: layers stacked, matrices
// transposed.
#pragma once

#include "weights/checkpoint.h"

namespace tendon::pi05 {

// The published name of a leaf that is one tensor; empty: a stack of layers, or no leaf of the
// tree.
std::string published_name(std::string_view stored);

// Gives every leaf of the tree in `checkpoint` its published names; no effect on other layouts.
// Throws Error where a leaf has not the dimensions it should have.
void define_from_jax(Checkpoint& checkpoint);

}  // namespace tendon::pi05
