// Tensor names of the published layout.
#pragma once

#include <string>

namespace tendon::pi05::names {

inline const std::string kPaliGemma = "paligemma_with_expert.paligemma.model.";
inline const std::string kProjector = kPaliGemma + "multi_modal_projector.linear";
inline const std::string kTokenTable = kPaliGemma + "language_model.embed_tokens.weight";
inline const std::string kTiedTable = "paligemma_with_expert.paligemma.lm_head.weight";
inline const std::string kExpertHead = "paligemma_with_expert.gemma_expert.lm_head.weight";

inline std::string vision(const std::string& rest) {
  return kPaliGemma + "vision_tower.vision_model." + rest;
}
inline std::string prefix(const std::string& rest) { return kPaliGemma + "language_model." + rest; }
inline std::string expert(const std::string& rest) {
  return "paligemma_with_expert.gemma_expert.model." + rest;
}

}  // namespace tendon::pi05::names
