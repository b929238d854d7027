// Names and shapes of the published policy.
#include "models/fastwam/fastwam.h"
#include "models/published.h"

namespace tendon::fastwam {
namespace {

void attention(const std::string& at, std::int64_t width, std::int64_t inner, TensorList& s) {
  for (const char* p : {"q", "k", "v"}) s.linear(at + p, inner, width);
  s.linear(at + "o", width, inner);
  s.add(at + "norm_q.weight", {inner});
  s.add(at + "norm_k.weight", {inner});
}

void expert_tensors(const Config& c, const ExpertConfig& e, TensorList& s) {
  const std::string root = "mixtures." + e.name + ".";
  s.linear(root + "text_embedding.0", e.width, c.text_width);
  s.linear(root + "text_embedding.2", e.width, e.width);
  s.linear(root + "time_embedding.0", e.width, c.sinusoid);
  s.linear(root + "time_embedding.2", e.width, e.width);
  s.linear(root + "time_projection.1", 6 * e.width, e.width);
  for (std::int64_t i = 0; i < c.layers; ++i) {
    const std::string at = root + "blocks." + std::to_string(i) + ".";
    s.add(at + "modulation", {1, 6, e.width});
    attention(at + "self_attn.", e.width, c.attention(), s);
    attention(at + "cross_attn.", e.width, c.attention(), s);
    s.add(at + "norm3.weight", {e.width});
    s.add(at + "norm3.bias", {e.width});
    s.linear(at + "ffn.0", e.ffn, e.width);
    s.linear(at + "ffn.2", e.width, e.ffn);
  }
}

void policy_tensors(const Config& c, TensorList& s) {
  const std::int64_t video = c.video.width, action = c.action.width;
  s.kernel("mixtures.video.patch_embedding", {video, c.kLatent, 1, 2, 2});
  expert_tensors(c, c.video, s);
  s.add("mixtures.video.head.modulation", {1, 2, video});
  s.linear("mixtures.video.head.head", 4 * c.kLatent, video);
  s.linear("mixtures.action.action_encoder", action, c.action_dim);
  expert_tensors(c, c.action, s);
  s.linear("mixtures.action.head", c.action_dim, action);
  s.linear("proprio_encoder", c.text_width, c.state_dim);
}

}  // namespace

std::vector<TensorSpec> published_tensors(const Config& config) {
  TensorList policy(DType::bf16, "policy:");
  policy_tensors(config, policy);
  std::vector<TensorSpec> all = policy.take();
  for (auto& more : {wan_vae::tensors(config.vae_width), umt5::tensors(config.text)}) {
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

}  // namespace tendon::fastwam
