// The VAE's encoder at one frame: a 2-D network over [1, Y, X, C].
#include <cmath>

#include "models/wan_vae/wan_vae.h"

namespace tendon::wan_vae {
namespace {

struct Kernel {
  std::int64_t stride = 1;
  std::array<std::int64_t, 4> pad{1, 1, 1, 1};  // top, left, bottom, right
};

class Encoder {
 public:
  explicit Encoder(const nn::Recorder& r) : r_(r), t_(r.trace()) {}

  Value conv(const std::string& op, Value x, const Conv& w, const Kernel& k = {},
             Value residual = {}) const {
    const Shape& in = t_.shape(x);
    const std::int64_t rows = (in[1] + k.pad[0] + k.pad[2] - 3) / k.stride + 1;
    const std::int64_t columns = (in[2] + k.pad[1] + k.pad[3] - 3) / k.stride + 1;
    const std::int64_t channels = t_.program().weight(w.weight).shape[0];
    const Value out = t_.make(r_.working(), {in[0], rows, columns, channels});
    t_.add(ops::Conv2d{.x = x,
                       .weight = w.weight,
                       .bias = w.bias,
                       .stride = k.stride,
                       .pad = k.pad,
                       .residual = residual,
                       .out = out},
           r_.name(op));
    return out;
  }

  Value norm_silu(const std::string& op, Value x, const nn::Norm& w) const {
    const Value n = r_.rms_norm(op, x, w), out = t_.make(r_.working(), t_.shape(x));
    t_.add(ops::Activation{.x = n, .act = Act::silu, .out = out}, r_.name(op + ".silu"));
    return out;
  }

  Value residual(const std::string& at, Value x, const ResidualBlock& w) const {
    const Value h = w.shortcut.weight ? r_.linear(at + ".shortcut", x, w.shortcut) : x;
    const Value y = conv(at + ".conv1", norm_silu(at + ".norm1", x, w.norm1), w.conv1);
    return conv(at + ".conv2", norm_silu(at + ".norm2", y, w.norm2), w.conv2, {}, h);
  }

  // 2 x 2 means of the stage's input: channel c to channel c, or, where the original averages over
  // an empty earlier frame too, to channel 2 c + 1 with zeros between.
  Value shortcut(const std::string& op, Value x, Value plus, const Shape& out_shape) const {
    const std::int64_t step = out_shape[3] / t_.shape(x)[3];
    const Value out = t_.make(r_.working(), out_shape);
    t_.add(
        ops::AveragePool{
            .x = x, .channel_step = step, .channel_offset = step - 1, .residual = plus, .out = out},
        r_.name(op));
    return out;
  }

  Value stage(std::size_t i, Value x, const Stage& w) const {
    const std::string at = "stage" + std::to_string(i);
    const Value first = residual(at + ".0", x, w.blocks[0]);
    Value y = residual(at + ".1", first, w.blocks[1]);
    if (!w.down.weight) {
      t_.tap("vae." + at + ".shortcut", x);
      const Value out = t_.make(r_.working(), t_.shape(x));
      t_.add(ops::Add{.a = y, .b = x, .out = out}, r_.name(at + ".shortcut"));
      y = out;
    } else {
      y = conv(at + ".down", y, w.down, {2, {0, 0, 1, 1}});
      const Shape shape = t_.shape(y);
      if (t_.program().record_taps) {
        t_.tap("vae." + at + ".shortcut", shortcut(at + ".shortcut_alone", x, {}, shape));
      }
      y = shortcut(at + ".shortcut", x, y, shape);
    }
    t_.tap("vae." + at, y);
    return y;
  }

  // One head over all pixels.
  Value attention(Value x, const Weights& w) const {
    const Shape shape = t_.shape(x);
    const std::int64_t pixels = shape[1] * shape[2], width = shape[3];
    const Value n = r_.rms_norm("attention.norm", x, w.attention_norm);
    const Value all = r_.linear("attention.qkv", t_.reshape(n, {1, pixels, width}), w.qkv);
    auto part = [&](std::int64_t i) { return t_.split_last(t_.columns(all, i * width, width), 1); };
    const float scale = 1.0f / std::sqrt(static_cast<float>(width));
    const Value a =
        r_.attention("attention", part(0), {{{.k = part(1), .v = part(2)}}}, {.scale = scale});
    const Value out =
        r_.linear("attention.proj", a, w.proj, {.residual = t_.reshape(x, {1, pixels, width})});
    return t_.reshape(out, shape);
  }

 private:
  const nn::Recorder& r_;
  Trace& t_;
};

}  // namespace

void record(const nn::Recorder& r, const Weights& w, Value image, Value latent) {
  Trace& t = r.trace();
  const Encoder encoder(r);
  const Shape shape = t.shape(image);
  const Value pixels = t.make(r.working(), {1, shape[1] / 2, shape[2] / 2, 12});
  t.add(ops::SpaceToDepth{.x = image, .channel_major = true, .out = pixels},
        r.name("space_to_depth"));
  t.tap("vae.space_to_depth", pixels);
  Value x = encoder.conv("conv1", pixels, w.in);
  t.tap("vae.conv1", x);
  for (std::size_t i = 0; i < w.stages.size(); ++i) x = encoder.stage(i, x, w.stages[i]);
  x = encoder.residual("middle0", x, w.middle[0]);
  t.tap("vae.middle0", x);
  x = encoder.attention(x, w);
  t.tap("vae.middle1", x);
  x = encoder.residual("middle2", x, w.middle[1]);
  t.tap("vae.middle2", x);
  x = encoder.conv("head", encoder.norm_silu("head.norm", x, w.head_norm), w.head);
  t.tap("vae.head", x);
  if (t.program().record_taps) t.tap("vae.moments", r.linear("moments", x, w.moments));
  t.tap("latent", r.linear("latent", x, w.latent, {.into = latent}));
}

}  // namespace tendon::wan_vae
