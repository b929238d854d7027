// Names and shapes of the published files: the Wan VAE encoder, the mixture, the Wan UMT5 encoder.
#include "models/fastwam/fastwam.h"

namespace tendon::fastwam {
namespace {

class Specs {
 public:
  // Generated values follow from the name inside its file.
  void file(std::string prefix, DType dtype) { prefix_ = std::move(prefix), dtype_ = dtype; }
  void add(const std::string& name, const Shape& shape) {
    all.push_back({prefix_ + name, dtype_, shape, name});
  }
  void linear(const std::string& name, std::int64_t n, std::int64_t k) {
    add(name + ".weight", {n, k});
    add(name + ".bias", {n});
  }
  void convolution(const std::string& name, const Shape& kernel) {
    add(name + ".weight", kernel);
    add(name + ".bias", {kernel[0]});
  }
  std::vector<TensorSpec> all;

 private:
  std::string prefix_;
  DType dtype_ = DType::f32;
};

void residual_block(const std::string& at, std::int64_t in, std::int64_t out, Specs& s) {
  s.add(at + "residual.0.gamma", {in, 1, 1, 1});
  s.convolution(at + "residual.2", {out, in, 3, 3, 3});
  s.add(at + "residual.3.gamma", {out, 1, 1, 1});
  s.convolution(at + "residual.6", {out, out, 3, 3, 3});
  if (in != out) s.convolution(at + "shortcut", {out, in, 1, 1, 1});
}

void vae_tensors(const Config& c, Specs& s) {
  s.file("vae:", DType::f32);
  std::int64_t width = c.vae_width;
  s.convolution("encoder.conv1", {width, 12, 3, 3, 3});
  for (std::int64_t i = 0; i < 4; ++i) {
    const std::string at = "encoder.downsamples." + std::to_string(i) + ".downsamples.";
    const std::int64_t out = c.vae_channels(i);
    residual_block(at + "0.", width, out, s);
    residual_block(at + "1.", out, out, s);
    if (i < 3) s.convolution(at + "2.resample.1", {out, out, 3, 3});
    if (i == 1 || i == 2) s.convolution(at + "2.time_conv", {out, out, 3, 1, 1});
    width = out;
  }
  residual_block("encoder.middle.0.", width, width, s);
  s.add("encoder.middle.1.norm.gamma", {width, 1, 1});
  s.convolution("encoder.middle.1.to_qkv", {3 * width, width, 1, 1});
  s.convolution("encoder.middle.1.proj", {width, width, 1, 1});
  residual_block("encoder.middle.2.", width, width, s);
  s.add("encoder.head.0.gamma", {width, 1, 1, 1});
  s.convolution("encoder.head.2", {2 * c.kLatent, width, 3, 3, 3});
  s.convolution("conv1", {2 * c.kLatent, 2 * c.kLatent, 1, 1, 1});
}

void attention(const std::string& at, std::int64_t width, std::int64_t inner, Specs& s) {
  for (const char* p : {"q", "k", "v"}) s.linear(at + p, inner, width);
  s.linear(at + "o", width, inner);
  s.add(at + "norm_q.weight", {inner});
  s.add(at + "norm_k.weight", {inner});
}

void expert_tensors(const Config& c, const ExpertConfig& e, Specs& s) {
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

void policy_tensors(const Config& c, Specs& s) {
  s.file("policy:", DType::bf16);
  const std::int64_t video = c.video.width, action = c.action.width;
  s.convolution("mixtures.video.patch_embedding", {video, c.kLatent, 1, 2, 2});
  expert_tensors(c, c.video, s);
  s.add("mixtures.video.head.modulation", {1, 2, video});
  s.linear("mixtures.video.head.head", 4 * c.kLatent, video);
  s.linear("mixtures.action.action_encoder", action, c.action_dim);
  expert_tensors(c, c.action, s);
  s.linear("mixtures.action.head", c.action_dim, action);
  s.linear("proprio_encoder", c.text_width, c.state_dim);
}

void text_tensors(const TextConfig& t, Specs& s) {
  s.file("text:", DType::bf16);
  s.add("token_embedding.weight", {t.vocab, t.width});
  for (std::int64_t i = 0; i < t.layers; ++i) {
    const std::string at = "blocks." + std::to_string(i) + ".";
    s.add(at + "norm1.weight", {t.width});
    for (const char* p : {"q", "k", "v"}) {
      s.add(at + "attn." + p + ".weight", {t.attention, t.width});
    }
    s.add(at + "attn.o.weight", {t.width, t.attention});
    s.add(at + "norm2.weight", {t.width});
    s.add(at + "ffn.gate.0.weight", {t.ffn, t.width});
    s.add(at + "ffn.fc1.weight", {t.ffn, t.width});
    s.add(at + "ffn.fc2.weight", {t.width, t.ffn});
    s.add(at + "pos_embedding.embedding.weight", {t.buckets, t.heads});
  }
  s.add("norm.weight", {t.width});
}

}  // namespace

std::vector<TensorSpec> published_tensors(const Config& config) {
  Specs s;
  vae_tensors(config, s);
  policy_tensors(config, s);
  text_tensors(config.text, s);
  return std::move(s.all);
}

}  // namespace tendon::fastwam
