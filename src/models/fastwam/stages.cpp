// The forward of the mixture's stages. Letters: L context rows, Sv video tokens, H action rows.
#include <cmath>

#include "models/fastwam/model.h"
#include "nn/tables.h"

namespace tendon::fastwam {
namespace {

constexpr DType kF32 = DType::f32;

struct Table {
  std::vector<float> cos, sin;
  void add(double angle) {
    cos.push_back(static_cast<float>(std::cos(angle)));
    sin.push_back(static_cast<float>(std::sin(angle)));
  }
};

// A head's pairs belong to the frame (always 0 here), then the row, then the column.
Table video_rotation(const Config& c) {
  const std::int64_t side = 2 * (c.head_dim / 6), frame = c.head_dim - 2 * side;
  auto frequency = [](std::int64_t i, std::int64_t dim) {
    return std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(dim));
  };
  Table table;
  for (std::int64_t token = 0; token < c.video_tokens(); ++token) {
    const auto y = static_cast<double>(token / c.grid_columns());
    const auto x = static_cast<double>(token % c.grid_columns());
    for (std::int64_t i = 0; i < frame / 2; ++i) table.add(0.0);
    for (std::int64_t i = 0; i < side / 2; ++i) table.add(y * frequency(i, side));
    for (std::int64_t i = 0; i < side / 2; ++i) table.add(x * frequency(i, side));
  }
  return table;
}

Table action_rotation(const Config& c) {
  Table table;
  for (std::int64_t p = 0; p < c.horizon; ++p) {
    for (std::int64_t i = 0; i < c.head_dim / 2; ++i) {
      table.add(static_cast<double>(p) *
                std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(c.head_dim)));
    }
  }
  return table;
}

}  // namespace

ContextBuffers FastWamModel::add_context(Program& program, const Expert& e) const {
  const std::int64_t rows = 2 + config_.context_len;
  ContextBuffers b;
  b.rows = program.add({e.name + ".context", options_.working, {1, rows, e.width}});
  for (std::size_t i = 0; i < e.blocks.size(); ++i) {
    if (!e.blocks[i].cross.weights.weight) break;
    const Shape keys{1, rows, config_.heads, config_.head_dim};
    const std::string layer = std::to_string(i);
    b.k.push_back(program.add({e.name + ".cross_k." + layer, options_.working, keys}));
    b.v.push_back(program.add({e.name + ".cross_v." + layer, options_.working, keys}));
  }
  return b;
}

void FastWamModel::add_tables(Program& program) {
  const Config& c = config_;
  Buffers& b = buffers_;
  const std::int64_t half = c.head_dim / 2, tokens = c.video_tokens();
  const Table video = video_rotation(c), action = action_rotation(c);
  b.video_cos = program.constant("video.cos", kF32, {tokens, half}, video.cos);
  b.video_sin = program.constant("video.sin", kF32, {tokens, half}, video.sin);
  b.video_positions =
      program.constant("video.positions", DType::i32, {tokens}, nn::counting(tokens));
  b.action_cos = program.constant("action.cos", kF32, {c.horizon, half}, action.cos);
  b.action_sin = program.constant("action.sin", kF32, {c.horizon, half}, action.sin);
  b.action_positions =
      program.constant("action.positions", DType::i32, {c.horizon}, nn::counting(c.horizon));
  std::vector<float> sum = weights_.video.modulation;
  const std::vector<float>& m = weights_.video_time_projection;
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += m[i % m.size()];
  const auto numbers = [](const std::vector<float>& v) {
    return Shape{1, static_cast<std::int64_t>(v.size())};
  };
  b.video_modulation = program.constant("video.modulation", kF32, numbers(sum), sum);
  const std::vector<float>& own = weights_.action.modulation;
  b.layer_modulation = program.constant("action.layer_modulation", kF32, numbers(own), own);
  if (!program.record_taps) return;
  b.video_time =
      program.constant("video.time", kF32, numbers(weights_.video_time), weights_.video_time);
  b.video_time_projection = program.constant("video.time_mod", kF32, numbers(m), m);
}

void FastWamModel::add_buffers(Program& program) {
  const Config& c = config_;
  const std::int64_t context = 2 + c.context_len, table_rows = options_.max_steps + 1;
  const DType w = options_.working;
  Buffers& b = buffers_;
  pictures_.add_buffers(program);
  b.latent = program.add({"latent", w, {1, 2 * c.grid_rows(), 2 * c.grid_columns(), c.kLatent}});
  b.context = program.add({"context", kF32, {1, context, c.text_width}});
  b.context_length = program.add({"context_length", DType::i32, {1}});
  b.context_bias = program.add({"context_bias", kF32, {1, context}});
  b.state = program.add({"state", kF32, {1, 1, c.state_dim}});
  b.video = add_context(program, weights_.video);
  b.action = add_context(program, weights_.action);
  for (std::int64_t i = 0; i < c.layers; ++i) {
    const Shape keys{1, c.video_tokens(), c.heads, c.head_dim};
    b.k.push_back(program.add({"video.k." + std::to_string(i), w, keys}));
    b.v.push_back(program.add({"video.v." + std::to_string(i), w, keys}));
  }
  b.modulation =
      program.add({"action.modulation", kF32, {table_rows, c.layers * 6 * c.action.width}});
  denoising_.add_buffers(program);
  add_tables(program);
}

void FastWamModel::context_rows(const nn::Recorder& r, const Expert& expert,
                                const ContextBuffers& to,
                                std::pair<std::int64_t, std::int64_t> range) const {
  Trace& t = r.trace();
  const auto [first, count] = range;
  const Value rows = t.rows(t.buffer(buffers_.context), first, count);  // [1, count, Wt]
  const Value hidden = r.linear("text_in", rows, expert.text_in, {.act = Act::gelu_tanh});
  const Value c = r.linear("text_out", hidden, expert.text_out,
                           {.into = t.rows(t.buffer(to.rows), first, count)});
  for (std::size_t i = 0; i < to.k.size(); ++i) {
    const nn::KeyValue into{t.slice(t.buffer(to.k[i]), 1, first, count),
                            t.slice(t.buffer(to.v[i]), 1, first, count)};
    r.qkv("cross_kv." + std::to_string(i), c, expert.blocks[i].cross, {}, into);
  }
}

std::size_t FastWamModel::record_vision(Program& program) {
  Trace t("vision", program);
  const nn::Recorder r(t, options_.working, "vision.");
  wan_vae::record(r, weights_.vae, pictures_.record(r, 1), t.buffer(buffers_.latent));
  program.traces.push_back(std::move(t));
  return program.traces.size() - 1;
}

std::size_t FastWamModel::record_text(Program& program, std::int64_t rows) {
  Trace t("text." + std::to_string(rows), program);
  const nn::Recorder r(t, options_.working, "text.");
  context_rows(r.at("video"), weights_.video, buffers_.video, {1, rows + 1});
  context_rows(r.at("action"), weights_.action, buffers_.action, {1, rows + 1});
  program.traces.push_back(std::move(t));
  return program.traces.size() - 1;
}

std::size_t FastWamModel::record_state(Program& program) {
  Trace t("state", program);
  const nn::Recorder r(t, options_.working, "state.");
  const Value row = r.linear("proprio", t.buffer(buffers_.state), weights_.state,
                             {.into = t.rows(t.buffer(buffers_.context), 0, 1)});
  t.tap("context_state_row", row);
  context_rows(r.at("video"), weights_.video, buffers_.video, {0, 1});
  context_rows(r.at("action"), weights_.action, buffers_.action, {0, 1});
  program.traces.push_back(std::move(t));
  return program.traces.size() - 1;
}

// What the blocks of a stack need to know of the trace around them.
struct FastWamModel::Stack {
  const Expert& expert;
  const ContextBuffers& context;
  std::int64_t context_rows;  // L
  nn::Rotation rotation;
  Value table, table_rows;  // modulation, and the row of it for the step or for each row
  bool video;

  // Column `part` (of 6) of a layer's modulation.
  RowTable part(std::size_t layer, std::int64_t part) const {
    return {table, table_rows, (static_cast<std::int64_t>(layer) * 6 + part) * expert.width};
  }
  std::string tap(const char* what, std::size_t layer) const {
    return expert.name + "." + what + "." + std::to_string(layer);
  }
};

Value FastWamModel::block(const nn::Recorder& r, Value x, std::size_t i, const Stack& s) const {
  Trace& t = r.trace();
  const Block& w = s.expert.blocks[i];
  const bool last = !w.self_out.weight;
  const ops::Attention::Keys video{.k = t.buffer(buffers_.k[i]), .v = t.buffer(buffers_.v[i])};
  const nn::KeyValue to = s.video ? nn::KeyValue{video.k, video.v} : nn::KeyValue{};
  const Value a = r.layer_norm("norm1", x, {}, {s.part(i, 1), s.part(i, 0)});
  const auto p = r.qkv("qkv", a, w.self, s.rotation, to);
  t.tap(s.tap("k", i), p.k);
  t.tap(s.tap("v", i), p.v);
  if (last) return {};
  t.tap(s.tap("q", i), p.q);
  std::array<ops::Attention::Keys, 2> keys{video};
  if (!s.video) keys[1] = {.k = p.k, .v = p.v};
  const float scale = 1.0f / std::sqrt(static_cast<float>(config_.head_dim));
  const Value self = r.attention("attention", p.q, keys, {.scale = scale});
  t.tap(s.tap("attention", i), self);
  x = r.linear("o", self, w.self_out, {.gate = s.part(i, 2), .residual = x});

  const Shape shape{1, s.context_rows, config_.heads, config_.head_dim};
  const ops::Attention::Keys text{.k = t.buffer(s.context.k[i], shape),
                                  .v = t.buffer(s.context.v[i], shape),
                                  .length = t.buffer(buffers_.context_length),
                                  .bias = t.buffer(buffers_.context_bias, {1, s.context_rows})};
  t.tap(s.tap("cross_k", i), text.k, Trace::TapRows::packed_prefix);
  t.tap(s.tap("cross_v", i), text.v, Trace::TapRows::packed_prefix);
  const Value q =
      r.rms_norm("cross_norm_q", r.linear("cross_q", r.layer_norm("norm3", x, w.norm3), w.cross_q),
                 w.cross_norm_q);
  const Value cross =
      r.attention("cross_attention", t.split_last(q, config_.heads), {{text}}, {.scale = scale});
  x = r.linear("cross_o", cross, w.cross_out, {.residual = x});

  const Value f = r.layer_norm("norm2", x, {}, {s.part(i, 4), s.part(i, 3)});
  const Value hidden = r.linear("ffn.0", f, w.fc1, {.act = Act::gelu_tanh});
  x = r.linear("ffn.2", hidden, w.fc2, {.gate = s.part(i, 5), .residual = x});
  t.tap(s.tap("block", i), x);
  return x;
}

std::size_t FastWamModel::record_prefix(Program& program, std::int64_t rows) {
  const Config& c = config_;
  Trace t("prefix." + std::to_string(rows), program);
  const nn::Recorder r(t, options_.working, "prefix.");
  const Value latent = t.buffer(buffers_.latent);
  const Value patches = t.make(r.working(), {1, c.grid_rows(), c.grid_columns(), 4 * c.kLatent});
  t.add(ops::SpaceToDepth{.x = latent, .out = patches}, r.name("patches"));
  Value x = r.linear("patch_embedding", t.reshape(patches, {1, c.video_tokens(), 4 * c.kLatent}),
                     weights_.patch);  // [1, Sv, D]
  t.tap("video.tokens", x);
  const auto rotation =
      nn::Rotation{t.buffer(buffers_.video_cos), t.buffer(buffers_.video_sin),
                   t.buffer(buffers_.video_positions), ops::RopeStyle::interleaved};
  const Stack stack{weights_.video,
                    buffers_.video,
                    2 + rows,
                    rotation,
                    t.buffer(buffers_.video_modulation),
                    {},
                    true};
  for (std::size_t i = 0; i < weights_.video.blocks.size(); ++i) {
    x = block(r.at(std::to_string(i)), x, i, stack);
  }
  if (program.record_taps) {
    const auto packed = Trace::TapRows::packed_prefix;
    t.tap("context_rows", t.buffer(buffers_.context, {1, 2 + rows, c.text_width}), packed);
    t.tap("video.context", t.buffer(buffers_.video.rows, {1, 2 + rows, c.video.width}), packed);
    t.tap("action.context", t.buffer(buffers_.action.rows, {1, 2 + rows, c.action.width}), packed);
    t.tap("video.time", t.buffer(buffers_.video_time));
    t.tap("video.time_mod", t.buffer(buffers_.video_time_projection));
  }
  program.traces.push_back(std::move(t));
  return program.traces.size() - 1;
}

// Every layer's modulation for 16 time steps.
std::size_t FastWamModel::record_time(Program& program, int first, int count) {
  const std::int64_t width = 6 * config_.action.width;
  Trace t("time." + std::to_string(first), program);
  const nn::Recorder r(t, kF32, "time.");
  const Value e = denoising_.embeddings(t, first, count);  // [R, F]
  const Value hidden = r.linear("time_embedding.0", e, weights_.time_in, {.act = Act::silu});
  const Value tau = r.linear("time_embedding.2", hidden, weights_.time_out);
  const Value active = t.make(kF32, t.shape(tau));
  t.add(ops::Activation{.x = tau, .act = Act::silu, .out = active}, r.name("silu"));
  const Value m = r.linear("time_projection", active, weights_.time_projection);  // [R, 6 Da]
  if (first == 0) {
    t.tap("action.timestep", denoising_.times(t));
    t.tap("action.delta", denoising_.deltas(t));
    t.tap("action.time.{row}", tau);
    t.tap("action.time_mod.{row}", m);
  }
  const Value table = t.rows(t.buffer(buffers_.modulation), first, count);
  const Value own = t.buffer(buffers_.layer_modulation);
  for (std::int64_t i = 0; i < config_.layers; ++i) {
    t.add(ops::Add{.a = m,
                   .b = t.columns(own, i * width, width),
                   .out = t.columns(table, i * width, width)},
          r.name("modulation." + std::to_string(i)));
  }
  program.traces.push_back(std::move(t));
  return program.traces.size() - 1;
}

std::size_t FastWamModel::record_step(Program& program, std::int64_t rows, PinRule pins) {
  const char* kind = pins == PinRule::conditioned ? "conditioned_step."
                     : pins == PinRule::renoised  ? "pinned_step."
                                                  : "step.";
  Trace t(kind + std::to_string(rows), program);
  const nn::Recorder r(t, options_.working, "step.");
  if (pins != PinRule::family) denoising_.pin(r);
  const bool conditioned = pins == PinRule::conditioned;
  const Value table_rows = conditioned ? denoising_.pinned_table_rows(r) : t.iteration();
  t.tap("action.x[]", denoising_.snapshot(t));
  Value h = r.linear("action_encoder", denoising_.sample(t), weights_.action_in);  // [1, H, Da]
  t.tap("action.tokens", h);
  const auto rotation =
      nn::Rotation{t.buffer(buffers_.action_cos), t.buffer(buffers_.action_sin),
                   t.buffer(buffers_.action_positions), ops::RopeStyle::interleaved};
  const Stack stack{weights_.action,
                    buffers_.action,
                    2 + rows,
                    rotation,
                    t.buffer(buffers_.modulation),
                    table_rows,
                    false};
  for (std::size_t i = 0; i < weights_.action.blocks.size(); ++i) {
    h = block(r.at(std::to_string(i)), h, i, stack);
  }
  const nn::Recorder wide(t, kF32, "step.");
  const Value velocity = wide.linear("head", h, weights_.action_out);  // [1, H, A]
  t.tap("action.velocity[]", velocity);
  t.tap("velocity.{step}", velocity);
  denoising_.euler(r, velocity);
  program.traces.push_back(std::move(t));
  return program.traces.size() - 1;
}

}  // namespace tendon::fastwam
