// Which tensors of the published layout the stages read, and what is computed from them at load.
#include <cmath>

#include "models/fastwam/model.h"
#include "weights/scope.h"

namespace tendon::fastwam {
namespace {

// Of the VAE's latent channels.
constexpr std::array<float, Config::kLatent> kMean = {
    -0.2289f, -0.0052f, -0.1323f, -0.2339f, -0.2799f, 0.0174f,  0.1838f,  0.1557f,
    -0.1382f, 0.0542f,  0.2813f,  0.0891f,  0.1570f,  -0.0098f, 0.0375f,  -0.1825f,
    -0.2246f, -0.1207f, -0.0698f, 0.5109f,  0.2665f,  -0.2108f, -0.2158f, 0.2502f,
    -0.2055f, -0.0322f, 0.1109f,  0.1567f,  -0.0729f, 0.0899f,  -0.2799f, -0.1230f,
    -0.0313f, -0.1649f, 0.0117f,  0.0723f,  -0.2839f, -0.2083f, -0.0520f, 0.3748f,
    0.0152f,  0.1957f,  0.1433f,  -0.2944f, 0.3573f,  -0.0548f, -0.1681f, -0.0667f};
constexpr std::array<float, Config::kLatent> kStd = {
    0.4765f, 1.0364f, 0.4514f, 1.1677f, 0.5313f, 0.4990f, 0.4818f, 0.5013f, 0.8158f, 1.0344f,
    0.5894f, 1.0901f, 0.6885f, 0.6165f, 0.8454f, 0.4978f, 0.5759f, 0.3523f, 0.7135f, 0.6804f,
    0.5833f, 1.4146f, 0.8986f, 0.5659f, 0.7069f, 0.5338f, 0.4889f, 0.4917f, 0.4069f, 0.4999f,
    0.6866f, 0.4093f, 0.5709f, 0.6065f, 0.6415f, 0.4944f, 0.5726f, 1.2042f, 0.5458f, 1.6887f,
    0.3971f, 1.0600f, 0.3943f, 0.5537f, 0.5444f, 0.4089f, 0.7468f, 0.7744f};

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

  // Of a causal kernel [O, C, 3, 3, 3] only the last temporal tap meets a single frame.
  Conv conv(const Scope& at, const std::string& name, std::int64_t out, std::int64_t in) {
    const TensorView tap = TensorView({out, in, 3, 3, 3}).select(2, 2).permute({0, 2, 3, 1});
    return {add(at.view(name + ".weight", tap, {out, 3, 3, in}, body_)),
            add(at.vector(name + ".bias", out, body_))};
  }
  Conv down(const Scope& at, std::int64_t width) {
    const TensorView kernel = TensorView({width, width, 3, 3}).permute({0, 2, 3, 1});
    return {add(at.view("resample.1.weight", kernel, {width, 3, 3, width}, body_)),
            add(at.vector("resample.1.bias", width, body_))};
  }
  // x / max(|x|, 1e-12) * sqrt(C) * gamma is the RMS norm with this eps.
  nn::Norm norm(const Scope& at, const std::string& name, const Shape& stored) {
    return {.weight = add(at.view(name + ".gamma", TensorView(stored), {stored[0]}, body_)),
            .eps = 1e-24f / static_cast<float>(stored[0])};
  }
  nn::Linear pointwise(const Scope& at, const std::string& name, const Shape& stored) {
    return {add(at.view(name + ".weight", TensorView(stored), {stored[0], stored[1]}, body_)),
            add(at.vector(name + ".bias", stored[0], body_))};
  }

  ResidualBlock residual(const Scope& at, std::int64_t in, std::int64_t out) {
    ResidualBlock b;
    b.norm1 = norm(at, "residual.0", {in, 1, 1, 1});
    b.conv1 = conv(at, "residual.2", out, in);
    b.norm2 = norm(at, "residual.3", {out, 1, 1, 1});
    b.conv2 = conv(at, "residual.6", out, out);
    if (in != out) b.shortcut = pointwise(at, "shortcut", {out, in, 1, 1, 1});
    return b;
  }

  // The mean's rows of the last 1 x 1 product, with (mean - m) / s folded in.
  nn::Linear latent() {
    const std::int64_t n = c_.kLatent, k = 2 * n;
    const TensorView mean = TensorView({k, k, 1, 1, 1}).slice(0, 0, n);
    auto scaled = [k](std::int64_t first, std::span<float> rows) {
      for (std::size_t i = 0; i < rows.size(); ++i) {
        rows[i] /= kStd[static_cast<std::size_t>(first) + i / static_cast<std::size_t>(k)];
      }
    };
    auto shifted = [](std::int64_t first, std::span<float> values) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        const std::size_t c = static_cast<std::size_t>(first) + i;
        values[i] = (values[i] - kMean[c]) / kStd[c];
      }
    };
    return {add(mapped(root_.view("vae:conv1.weight", mean, {n, k}, body_), scaled)),
            add(mapped(root_.view("vae:conv1.bias", TensorView({k}).slice(0, 0, n), {n}, body_),
                       shifted))};
  }

  void vae(VaeWeights& w) {
    const Scope at = root_.at("vae:encoder");
    std::int64_t width = c_.vae_width;
    w.in = conv(at, "conv1", width, 12);
    for (std::int64_t i = 0; i < 4; ++i) {
      const Scope stage = at.at("downsamples", i).at("downsamples");
      const std::int64_t out = c_.vae_channels(i);
      VaeStage& s = w.stages[static_cast<std::size_t>(i)];
      s.blocks = {residual(stage.at("0"), width, out), residual(stage.at("1"), out, out)};
      if (i < 3) s.down = down(stage.at("2"), out);
      width = out;
    }
    w.middle = {residual(at.at("middle.0"), width, width),
                residual(at.at("middle.2"), width, width)};
    const Scope attention = at.at("middle.1");
    w.attention_norm = norm(attention, "norm", {width, 1, 1});
    w.qkv = pointwise(attention, "to_qkv", {3 * width, width, 1, 1});
    w.proj = pointwise(attention, "proj", {width, width, 1, 1});
    w.head_norm = norm(at, "head.0", {width, 1, 1, 1});
    w.head = conv(at, "head.2", 2 * c_.kLatent, width);
    const std::int64_t n = 2 * c_.kLatent;
    if (program_.record_taps) w.moments = pointwise(root_, "vae:conv1", {n, n, 1, 1, 1});
    w.latent = latent();
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
  return {"text:*",
          "vae:decoder.*",
          "vae:conv2.*",
          "vae:*.time_conv.*",
          "policy:mixtures.video.head.*",
          last + "self_attn.q.*",
          last + "self_attn.o.*",
          last + "self_attn.norm_q.*",
          last + "cross_attn.*",
          last + "norm3.*",
          last + "ffn.*"};
}

}  // namespace

Weights bind(const Config& config, const ModelOptions& options, const Checkpoint& checkpoint,
             Program& program) {
  Binder binder(checkpoint);
  Weights w;
  Bind bind(config, options, binder.root(), program);
  bind.vae(w.vae);
  bind.policy(options, w);
  binder.finish(unread(config));
  return w;
}

}  // namespace tendon::fastwam
