// Which tensors of the published layout the stages read, and what is computed from them at load.
#include <cmath>

#include "models/fastwam/model.h"
#include "weights/scope.h"

namespace tendon::fastwam {
namespace {

double silu(double x) { return x / (1.0 + std::exp(-x)); }

// W x + b in fp64 on the host.
std::vector<double> product(const Scope& at, std::int64_t n, const std::vector<double>& x) {
  const auto k = static_cast<std::int64_t>(x.size());
  const std::vector<float> w = at.values("weight", {n, k}), b = at.values("bias", {n});
  std::vector<double> y(b.begin(), b.end());
  const float* row = w.data();
  for (double& sum : y) {
    for (double value : x) sum += static_cast<double>(*row++) * value;
  }
  return y;
}

class Bind {
 public:
  Bind(const Config& config, const ModelOptions& options, const Scope& root, Program& program)
      : c_(config),
        policy_(root.at("policy:mixtures")),
        root_(root),
        program_(program),
        body_(options.working == DType::f32 ? Format::f32 : Format::bf16) {}

  WeightRef add(Weight w) { return program_.add(std::move(w)); }

  nn::Linear linear(const Scope& at, const std::string& name, Shape size, Format format) {
    return {add(at.matrix(name + ".weight", size[0], size[1], format)),
            add(at.vector(name + ".bias", size[0], format))};
  }
  nn::Linear linear(const Scope& at, const std::string& name, Shape size) {
    return linear(at, name, size, body_);
  }

  nn::Qkv keys(const Scope& at, std::int64_t width) {
    const std::int64_t n = c_.attention();
    return {.weights = {add(at.joined({{"k.weight", n}, {"v.weight", n}}, width, body_)),
                        add(at.joined({{"k.bias", n}, {"v.bias", n}}, 0, body_))},
            .norm_k = add(at.vector("norm_k.weight", n, body_)),
            .kv_heads = c_.heads,
            .head_dim = c_.head_dim};
  }

  Block block(const Scope& at, const ExpertConfig& e) {
    const std::int64_t n = c_.attention();
    const Scope self = at.at("self_attn"), cross = at.at("cross_attn");
    Block b;
    b.self = {
        .weights = {add(self.joined({{"q.weight", n}, {"k.weight", n}, {"v.weight", n}}, e.width,
                                    body_)),
                    add(self.joined({{"q.bias", n}, {"k.bias", n}, {"v.bias", n}}, 0, body_))},
        .norm_q = add(self.vector("norm_q.weight", n, body_)),
        .norm_k = add(self.vector("norm_k.weight", n, body_)),
        .heads = c_.heads,
        .kv_heads = c_.heads,
        .head_dim = c_.head_dim};
    b.self_out = linear(self, "o", {e.width, n});
    b.norm3 = {.weight = add(at.vector("norm3.weight", e.width, body_)),
               .bias = add(at.vector("norm3.bias", e.width, body_))};
    b.cross_q = linear(cross, "q", {n, e.width});
    b.cross_norm_q = {.weight = add(cross.vector("norm_q.weight", n, body_))};
    b.cross = keys(cross, e.width);
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
                                   : Block{.self = keys(layer.at("self_attn"), e.width)});
    }
    return x;
  }

  void video_time(Weights& w) {
    const Scope at = policy_.at("video");
    std::vector<float> e(static_cast<std::size_t>(c_.sinusoid));
    sinusoid(0.0, e);
    std::vector<double> h =
        product(at.at("time_embedding.0"), c_.video.width, {e.begin(), e.end()});
    for (double& v : h) v = silu(v);
    h = product(at.at("time_embedding.2"), c_.video.width, h);
    w.video_time.assign(h.begin(), h.end());
    for (double& v : h) v = silu(v);
    h = product(at.at("time_projection.1"), 6 * c_.video.width, h);
    w.video_time_projection.assign(h.begin(), h.end());
  }

  void policy(const ModelOptions& options, Weights& w) {
    const std::int64_t video = c_.video.width, action = c_.action.width, n = c_.kLatent;
    const Scope in = policy_.at("video.patch_embedding");
    // Stored [D, c, 1, dy, dx]; patches are cut with the channel last.
    const TensorView patch = TensorView({video, n, 1, 2, 2}).select(2, 0).permute({0, 2, 3, 1});
    w.patch = {add(in.view("weight", patch, {video, 4 * n}, body_)),
               add(in.vector("bias", video, body_))};
    w.video = expert(c_.video, trims(options, program_) ? c_.layers - 1 : c_.layers);
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
  Program& program_;
  Format body_;
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
  const Format format = options.working == DType::f32 ? Format::f32 : Format::bf16;
  w.vae = wan_vae::bind(binder.root(), config.vae_width, format, program);
  bind.policy(options, w);
  binder.finish(unread(config));
  return w;
}

}  // namespace tendon::fastwam
