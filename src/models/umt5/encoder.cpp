// UMT5's encoder, one layer at a time: a layer's weights exist only while it runs.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "models/umt5/umt5.h"
#include "nn/recorder.h"
#include "weights/scope.h"

namespace tendon::umt5 {
namespace {

constexpr DType kF32 = DType::f32;

// Class of a distance key - query: its sign, then 8 exact ones, then logarithmic ones.
std::int64_t bucket(std::int64_t distance, std::int64_t buckets) {
  const std::int64_t half = buckets / 2, exact = half / 2, size = std::abs(distance);
  std::int64_t index = size;
  if (size >= exact) {
    // fp32, as the original forms it: the class boundaries depend on it.
    const float ratio = std::log(static_cast<float>(size) / static_cast<float>(exact)) /
                        static_cast<float>(std::log(128.0 / static_cast<double>(exact)));
    index = std::min(half - 1,
                     exact + static_cast<std::int64_t>(ratio * static_cast<float>(half - exact)));
  }
  return index + (distance > 0 ? half : 0);
}

class Umt5 final : public TextEncoder {
 public:
  Umt5(const Config& config, DType working, const Checkpoint& checkpoint)
      : c_(config),
        working_(working),
        format_(working == kF32 ? Format::f32 : Format::bf16),
        checkpoint_(checkpoint) {}

  int width() const override { return static_cast<int>(c_.width); }

  std::vector<float> encode(std::span<const std::int32_t> ids, Backend& backend,
                            const Observer& observer) const override {
    require(!ids.empty(), "text: no tokens to encode");
    std::vector<float> x = embed(ids);
    for (std::int64_t i = 0; i < c_.layers; ++i) run_layer(i, backend, observer, x);
    return x;
  }

 private:
  struct Layer {
    nn::Norm norm1, norm2, final;  // final: in the last layer's program
    nn::Linear qkv, o;
    nn::GatedMlp mlp;
    BufferRef in, out, bias;
  };

  std::vector<float> embed(std::span<const std::int32_t> ids) const {
    Binder binder(checkpoint_);
    const Scope root = binder.root();
    const char* name = root.has("text:token_embedding.weight") ? "text:token_embedding.weight"
                                                               : "text:encoder.embed_tokens.weight";
    const Weight table = root.matrix(name, c_.vocab, c_.width, format_);
    finish(binder);
    std::vector<float> rows(ids.size() * static_cast<std::size_t>(c_.width));
    for (std::size_t i = 0; i < ids.size(); ++i) {
      require(ids[i] >= 0 && ids[i] < c_.vocab, "text: token {} of a vocabulary of {}", ids[i],
              c_.vocab);
      table.read(ids[i], 1, rows.data() + i * static_cast<std::size_t>(c_.width));
    }
    return rows;
  }

  // Complains about what is missing or misshapen; all else of the checkpoint is none of its
  // business.
  static void finish(Binder& binder) {
    const std::vector<std::string> rest = {"*"};
    binder.finish(rest);
  }

  Layer bind(std::int64_t i, std::int64_t tokens, Program& program) const {
    Binder binder(checkpoint_);
    const Scope at = binder.root().at("text:blocks", i);
    auto add = [&](Weight w) { return program.add(std::move(w)); };
    auto norm = [&](const Scope& s, const char* name) {
      return nn::Norm{.weight = add(s.vector(name, c_.width, format_))};
    };
    const std::int64_t n = c_.attention, d = c_.width;
    Layer w;
    w.norm1 = norm(at, "norm1.weight");
    w.norm2 = norm(at, "norm2.weight");
    const Scope attention = at.at("attn");
    w.qkv.weight =
        add(attention.joined({{"q.weight", n}, {"k.weight", n}, {"v.weight", n}}, d, format_));
    w.o.weight = add(attention.matrix("o.weight", d, n, format_));
    w.mlp.act = Act::gelu_tanh;
    w.mlp.gate.weight = add(at.matrix("ffn.gate.0.weight", c_.ffn, d, format_));
    w.mlp.up.weight = add(at.matrix("ffn.fc1.weight", c_.ffn, d, format_));
    w.mlp.down.weight = add(at.matrix("ffn.fc2.weight", d, c_.ffn, format_));
    const std::vector<float> table =
        at.values("pos_embedding.embedding.weight", {c_.buckets, c_.heads});
    if (i + 1 == c_.layers) w.final = norm(binder.root(), "text:norm.weight");
    finish(binder);
    w.in = program.add({"in", kF32, {1, tokens, d}});
    w.out = program.add({"out", kF32, {1, tokens, d}});
    w.bias = program.constant("bias", kF32, {c_.heads, tokens, tokens}, scores(table, tokens));
    return w;
  }

  // [H, query, key]
  std::vector<float> scores(const std::vector<float>& table, std::int64_t tokens) const {
    std::vector<float> bias;
    for (std::int64_t h = 0; h < c_.heads; ++h) {
      for (std::int64_t query = 0; query < tokens; ++query) {
        for (std::int64_t key = 0; key < tokens; ++key) {
          const std::int64_t row = bucket(key - query, c_.buckets);
          bias.push_back(table[static_cast<std::size_t>(row * c_.heads + h)]);
        }
      }
    }
    return bias;
  }

  // The residual stream stays fp32.
  void record(std::int64_t i, const Layer& w, Program& program) const {
    const std::string number = std::to_string(i);
    Trace t("layer." + number, program);
    const nn::Recorder r(t, working_, "text." + number + ".");
    const Value x = t.buffer(w.in);  // [1, T, D]
    t.tap("text.hidden." + number, x);
    const Value all = r.linear("qkv", r.rms_norm("norm1", x, w.norm1), w.qkv);
    auto part = [&](std::int64_t at) {
      return t.split_last(t.columns(all, at * c_.attention, c_.attention), c_.heads);
    };
    const Value a = r.attention("attention", part(0), {{{.k = part(1), .v = part(2)}}},
                                {.score_bias = t.buffer(w.bias)});
    if (program.record_taps) t.tap("text.attention." + number, r.linear("o_alone", a, w.o));
    const Value y = r.linear("o", a, w.o, {.residual = x, .dtype = kF32});
    const Value out = t.buffer(w.out);
    const bool last = i + 1 == c_.layers;
    const Value z = r.gated_mlp(r.rms_norm("norm2", y, w.norm2), w.mlp,
                                {.residual = y, .into = last ? Value{} : out, .dtype = kF32});
    if (last) {
      t.tap("text.hidden." + std::to_string(c_.layers), z);
      t.add(ops::RmsNorm{.x = z, .weight = w.final.weight, .eps = w.final.eps, .out = out},
            r.name("final"));
      t.tap("text.out", out);
    }
    program.traces.push_back(std::move(t));
  }

  void run_layer(std::int64_t i, Backend& backend, const Observer& observer,
                 std::vector<float>& x) const {
    auto program = std::make_unique<Program>();
    program->record_taps = static_cast<bool>(observer);
    const Layer w = bind(i, static_cast<std::int64_t>(x.size()) / c_.width, *program);
    record(i, w, *program);
    const auto executable = backend.compile(std::move(program), {});
    auto check = [](const Status& status) { require(status.ok(), "text: {}", status.message()); };
    check(executable->write(w.in, std::as_bytes(std::span(x))));
    check(executable->run(0));
    check(executable->read(w.out, std::as_writable_bytes(std::span(x))));
    if (observer) observer(*executable, 0);
  }

  Config c_;
  DType working_;
  Format format_;
  const Checkpoint& checkpoint_;
};

}  // namespace

std::unique_ptr<TextEncoder> make_encoder(const Config& config, DType working,
                                          const Checkpoint& checkpoint) {
  return std::make_unique<Umt5>(config, working, checkpoint);
}

}  // namespace tendon::umt5
