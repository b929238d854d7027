// Which tensors of the published file the encoder reads.
#include "models/wan_vae/wan_vae.h"
#include "weights/scope.h"

namespace tendon::wan_vae {
namespace {

// Of the VAE's latent channels.
constexpr std::array<float, kLatent> kMean = {
    -0.2289f, -0.0052f, -0.1323f, -0.2339f, -0.2799f, 0.0174f,  0.1838f,  0.1557f,
    -0.1382f, 0.0542f,  0.2813f,  0.0891f,  0.1570f,  -0.0098f, 0.0375f,  -0.1825f,
    -0.2246f, -0.1207f, -0.0698f, 0.5109f,  0.2665f,  -0.2108f, -0.2158f, 0.2502f,
    -0.2055f, -0.0322f, 0.1109f,  0.1567f,  -0.0729f, 0.0899f,  -0.2799f, -0.1230f,
    -0.0313f, -0.1649f, 0.0117f,  0.0723f,  -0.2839f, -0.2083f, -0.0520f, 0.3748f,
    0.0152f,  0.1957f,  0.1433f,  -0.2944f, 0.3573f,  -0.0548f, -0.1681f, -0.0667f};
constexpr std::array<float, kLatent> kStd = {
    0.4765f, 1.0364f, 0.4514f, 1.1677f, 0.5313f, 0.4990f, 0.4818f, 0.5013f, 0.8158f, 1.0344f,
    0.5894f, 1.0901f, 0.6885f, 0.6165f, 0.8454f, 0.4978f, 0.5759f, 0.3523f, 0.7135f, 0.6804f,
    0.5833f, 1.4146f, 0.8986f, 0.5659f, 0.7069f, 0.5338f, 0.4889f, 0.4917f, 0.4069f, 0.4999f,
    0.6866f, 0.4093f, 0.5709f, 0.6065f, 0.6415f, 0.4944f, 0.5726f, 1.2042f, 0.5458f, 1.6887f,
    0.3971f, 1.0600f, 0.3943f, 0.5537f, 0.5444f, 0.4089f, 0.7468f, 0.7744f};

class Bind {
 public:
  Bind(const Scope& root, Format format, Program& program)
      : root_(root), program_(program), body_(format) {}

  WeightRef add(Weight w) { return program_.add(std::move(w)); }

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
    const std::int64_t n = kLatent, k = 2 * n;
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

  void encoder(std::int64_t width, Weights& w) {
    const Scope at = root_.at("vae:encoder");
    const std::int64_t base = width;
    w.in = conv(at, "conv1", width, 12);
    for (std::int64_t i = 0; i < 4; ++i) {
      const Scope stage = at.at("downsamples", i).at("downsamples");
      const std::int64_t out = channels(base, i);
      Stage& s = w.stages[static_cast<std::size_t>(i)];
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
    w.head = conv(at, "head.2", 2 * kLatent, width);
    const std::int64_t n = 2 * kLatent;
    if (program_.record_taps) w.moments = pointwise(root_, "vae:conv1", {n, n, 1, 1, 1});
    w.latent = latent();
  }

 private:
  const Scope& root_;
  Program& program_;
  Format body_;
};

}  // namespace

Weights bind(const Scope& root, std::int64_t width, Format format, Program& program) {
  Weights w;
  Bind(root, format, program).encoder(width, w);
  return w;
}

}  // namespace tendon::wan_vae
