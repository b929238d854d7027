// Which tensors of the published layout the stages read, and what is computed from them at load.
#include <cmath>

#include "models/fastwam/model.h"
#include "nn/bind.h"

namespace tendon::fastwam {
namespace {

double silu(double x) { return x / (1.0 + std::exp(-x)); }

// W x + b in fp64 on the host.
std::vector<double> affine(const Scope& at, std::int64_t n, const std::vector<double>& x) {
  const auto k = static_cast<std::int64_t>(x.size());
  const std::vector<float> w = at.values("weight", {n, k}), b = at.values("bias", {n});
  std::vector<double> y(b.begin(), b.end());
  const float* row = w.data();
  for (double& sum : y) {
    for (double value : x) sum += static_cast<double>(*row++) * value;
  }
  return y;
}

class Bind : public nn::Bind {
 public:
  Bind(const Config& config, const ModelOptions& options, const Scope& root, Program& program)
      : nn::Bind(program, options.working),
        c_(config),
        policy_(root.at("policy:mixtures")),
        root_(root) {}

  // With `heads` 0 keys and values alone.
  nn::Qkv attention(const Scope& at, std::int64_t width, std::int64_t heads) {
    nn::Qkv w = qkv(at, "", {width, heads, c_.heads, c_.head_dim}, Biases::all);
    if (heads > 0) w.norm_q = add(at.vector("norm_q.weight", c_.attention(), body()));
    w.norm_k = add(at.vector("norm_k.weight", c_.attention(), body()));
    return w;
  }

  Block block(const Scope& at, const ExpertConfig& e) {
    const std::int64_t n = c_.attention();
    const Scope self = at.at("self_attn"), cross = at.at("cross_attn");
    Block b;
    b.self = attention(self, e.width, c_.heads);
    b.self_out = linear(self, "o", {e.width, n});
    b.norm3 = affine_norm(at, "norm3", e.width);
    b.cross_q = linear(cross, "q", {n, e.width});
    b.cross_norm_q = norm(cross, "norm_q", n);
    b.cross = attention(cross, e.width, 0);
    b.cross_out = linear(cross, "o", {e.width, n});
    b.fc1 = linear(at, "ffn.0", {e.ffn, e.width});
    b.fc2 = linear(at, "ffn.2", {e.width, e.ffn});
    return b;
  }

  // `whole` blocks, then keys alone.
  Expert expert(const ExpertConfig& e, std::int64_t whole) {
    const Scope at = policy_.at(e.name);
    Expert x{.width = e.width, .name = e.name};
    x.text_in = linear(at, "text_embedding.0", {e.width, c_.text_width});
    x.text_out = linear(at, "text_embedding.2", {e.width, e.width});
    for (std::int64_t i = 0; i < c_.layers; ++i) {
      const Scope layer = at.at("blocks", i);
      const std::vector<float> m = layer.values("modulation", {1, 6, e.width});
      x.modulation.insert(x.modulation.end(), m.begin(), m.end());
      x.blocks.push_back(i < whole ? block(layer, e)
                                   : Block{.self = attention(layer.at("self_attn"), e.width, 0)});
    }
    return x;
  }

  void video_time(Weights& w) {
    const Scope at = policy_.at("video");
    std::vector<float> e(static_cast<std::size_t>(c_.sinusoid));
    sinusoid(0.0, e);
    std::vector<double> h = affine(at.at("time_embedding.0"), c_.video.width, {e.begin(), e.end()});
    for (double& v : h) v = silu(v);
    h = affine(at.at("time_embedding.2"), c_.video.width, h);
    w.video_time.assign(h.begin(), h.end());
    for (double& v : h) v = silu(v);
    h = affine(at.at("time_projection.1"), 6 * c_.video.width, h);
    w.video_time_projection.assign(h.begin(), h.end());
  }

  void policy(const ModelOptions& options, Weights& w) {
    const std::int64_t video = c_.video.width, action = c_.action.width, n = c_.kLatent;
    const Scope in = policy_.at("video.patch_embedding");
    // Stored [D, c, 1, dy, dx]; patches are cut with the channel last.
    const TensorView patch = TensorView({video, n, 1, 2, 2}).select(2, 0).permute({0, 2, 3, 1});
    w.patch = {add(in.view("weight", patch, {video, 4 * n}, body())),
               add(in.vector("bias", video, body()))};
    w.video = expert(c_.video, trims_last_layer(options, program()) ? c_.layers - 1 : c_.layers);
    w.action = expert(c_.action, c_.layers);
    video_time(w);
    // Small matrices at the edges of the network keep the file's own precision.
    const Scope at = policy_.at("action");
    w.action_in = linear(at, "action_encoder", {action, c_.action_dim}, Format::f32);
    w.action_out = linear(at, "head", {c_.action_dim, action}, Format::f32);
    w.time_in = linear(at, "time_embedding.0", {action, c_.sinusoid}, Format::f32);
    w.time_out = linear(at, "time_embedding.2", {action, action}, Format::f32);
    w.time_projection = linear(at, "time_projection.1", {6 * action, action}, Format::f32);
    w.state = linear(root_, "policy:proprio_encoder", {c_.text_width, c_.state_dim}, Format::f32);
  }

 private:
  const Config& c_;
  Scope policy_, root_;
};

// Tensors of the layout that inference never reads.
std::vector<std::string> unread(const Config& c) {
  const std::string last = "policy:mixtures.video.blocks." + std::to_string(c.layers - 1) + ".";
  std::vector<std::string> all = wan_vae::unread();
  all.insert(all.end(), {"text:*", "policy:mixtures.video.head.*", last + "self_attn.q.*",
                         last + "self_attn.o.*", last + "self_attn.norm_q.*", last + "cross_attn.*",
                         last + "norm3.*", last + "ffn.*"});
  return all;
}

}  // namespace

Weights bind(const Config& config, const ModelOptions& options, const Checkpoint& checkpoint,
             Program& program) {
  Binder binder(checkpoint);
  Weights w;
  Bind bind(config, options, binder.root(), program);
  w.vae = wan_vae::bind(binder.root(), config.vae_width, bind.body(), program);
  bind.policy(options, w);
  binder.finish(unread(config));
  return w;
}

}  // namespace tendon::fastwam
