// Tensor names of the published layout, and those of the original JAX checkpoints' tree saved as
// safetensors, which stacks layers and transposes matrices.
#pragma once

#include <string>

#include "weights/checkpoint.h"

namespace tendon::pi05::names {

inline const std::string kPaliGemma = "paligemma_with_expert.paligemma.model.";
inline const std::string kProjector = kPaliGemma + "multi_modal_projector.linear";
inline const std::string kTokenTable = kPaliGemma + "language_model.embed_tokens.weight";
inline const std::string kTiedTable = "paligemma_with_expert.paligemma.lm_head.weight";
inline const std::string kExpertHead = "paligemma_with_expert.gemma_expert.lm_head.weight";

inline const std::string kVision = kPaliGemma + "vision_tower.vision_model";
inline const std::string kPrefix = kPaliGemma + "language_model";
inline const std::string kExpert = "paligemma_with_expert.gemma_expert.model";

inline std::string vision(const std::string& rest) { return kVision + "." + rest; }
inline std::string prefix(const std::string& rest) { return kPrefix + "." + rest; }
inline std::string expert(const std::string& rest) { return kExpert + "." + rest; }

}  // namespace tendon::pi05::names

namespace tendon::pi05 {

// The published name of a leaf that is one tensor; empty: a stack of layers, or no leaf.
std::string published_name(std::string_view stored);
// Gives every leaf of the tree in `checkpoint` its published names; no effect on other layouts.
// Throws Error where a leaf has not the dimensions it should have.
void define_from_jax(Checkpoint& checkpoint);

}  // namespace tendon::pi05
