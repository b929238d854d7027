// The forward of each stage. Letters: V cameras, N patches, B batch, P prefix rows, S suffix rows.
#include <cmath>
#include <numeric>

#include "base/half.h"
#include "models/pi05/model.h"
#include "nn/tables.h"

namespace tendon::pi05 {
namespace {

constexpr DType kF32 = DType::f32;

std::vector<std::int32_t> counting(std::int64_t n) {
  std::vector<std::int32_t> v(static_cast<std::size_t>(n));
  std::iota(v.begin(), v.end(), 0);
  return v;
}

std::string numbered(const char* before, std::size_t i, const char* after = "") {
  return before + std::to_string(i) + after;
}

// A copy that a later write in place does not change; recorded where taps are.
Value snapshot(Trace& t, Value v) {
  const Value copy = t.make(t.dtype(v), t.shape(v));
  t.add(ops::Copy{.x = v, .out = copy}, "snapshot");
  return copy;
}

}  // namespace

void Pi05Model::add_buffers(Program& program) {
  const Config& c = config_;
  const std::int64_t batch = options_.batch, slots = options_.camera_counts.back();
  const std::int64_t cameras = batch * slots;
  const std::int64_t prefix = prefix_rows_.max_rows(), table_rows = options_.max_steps + 1;
  const DType w = options_.working;
  Buffers& b = buffers_;
  b.images = program.add({"images", kF32, {cameras, c.image, c.image, 3}});
  b.patch_rows = program.constant("patch_rows", DType::i32, {c.patches()}, counting(c.patches()));
  prefix_rows_.add_buffers(program);
  b.state_positions = program.add({"state_positions", DType::i32, {batch, 1}});
  b.action_positions = program.add({"action_positions", DType::i32, {batch, c.horizon}});
  std::vector<float> frequencies = nn::rope_frequencies(10000.0f, c.head_dim);
  if (options_.bf16_rope) {
    for (float& f : frequencies) f = round_bf16(f);
  }
  const std::int64_t positions = prefix + c.suffix();
  const nn::RopeTable rope = nn::rope_table(frequencies, positions);
  b.cos = program.constant("cos", kF32, {positions, c.head_dim / 2}, rope.cos);
  b.sin = program.constant("sin", kF32, {positions, c.head_dim / 2}, rope.sin);
  for (std::int64_t i = 0; i < c.layers; ++i) {
    const Shape cache{batch, prefix, c.kv_heads, c.head_dim};
    b.k.push_back(program.add({numbered("k.", static_cast<std::size_t>(i)), w, cache}));
    b.v.push_back(program.add({numbered("v.", static_cast<std::size_t>(i)), w, cache}));
    if (c.adaptive) continue;
    const Shape own{batch, c.suffix(), c.kv_heads, c.head_dim};
    b.state_k.push_back(program.add({numbered("own_k.", static_cast<std::size_t>(i)), w, own}));
    b.state_v.push_back(program.add({numbered("own_v.", static_cast<std::size_t>(i)), w, own}));
  }
  b.state = program.add({"state", kF32, {batch, c.action_dim}});
  b.time = program.add({"time", kF32, {table_rows, c.expert_width}});
  b.times = program.add({"times", kF32, {table_rows, 1}});
  b.deltas = program.add({"deltas", kF32, {table_rows, 1}});
  if (c.adaptive) {
    b.modulation =
        program.add({"modulation", kF32, {table_rows, (2 * c.layers + 1) * 3 * c.expert_width}});
  } else {
    b.mixed_time = program.add({"mixed_time", kF32, {table_rows, c.expert_width}});
  }
  const Shape sample{batch, c.horizon, c.action_dim};
  b.x = program.add({"x", kF32, sample});
  b.pinned = program.add({"pinned", kF32, sample});
  b.pin_mask = program.add({"pin_mask", DType::i32, {batch * c.horizon}});
  b.pin_rows = program.add({"pin_rows", DType::i32, {table_rows, c.horizon}});
}

std::size_t Pi05Model::record_vision(Program& program, int cameras) {
  const Config& c = config_;
  const std::int64_t n = c.patches(), width = c.vision_width;
  Trace t(numbered("vision.", static_cast<std::size_t>(cameras)), program);
  const nn::Recorder r(t, options_.working, "vision.");
  const Value images = t.buffer(buffers_.images, {cameras, c.image, c.image, 3});
  const Value blocks = t.make(kF32, {cameras, c.grid(), c.grid(), c.patch * c.patch * 3});
  t.add(ops::SpaceToDepth{.x = images, .block = c.patch, .out = blocks}, r.name("patches"));
  const Value table = t.make(kF32, {1, n, width});
  t.add(ops::Embed{.ids = t.buffer(buffers_.patch_rows), .table = weights_.positions, .out = table},
        r.name("positions"));
  const Value rows = t.reshape(blocks, {cameras, n, c.patch * c.patch * 3});
  const Value patches = r.linear("patch", rows, weights_.patch, {.dtype = &kF32});  // [V, N, Dv]
  const Value embed = t.make(kF32, {cameras, n, width});
  t.add(ops::Add{.a = patches, .b = table, .out = embed}, r.name("embed"));
  t.tap("vision.{slot}.embed", embed);
  Value x = t.make(options_.working, {cameras, n, width});
  t.add(ops::Copy{.x = embed, .out = x}, r.name("round"));
  for (std::size_t i = 0; i < weights_.vision.size(); ++i) {
    const VisionLayer& layer = weights_.vision[i];
    const nn::Recorder at = r.at(std::to_string(i));
    const auto p = at.qkv("qkv", at.layer_norm("norm1", x, layer.norm1), layer.qkv, {});
    const float scale = 1.0f / std::sqrt(static_cast<float>(layer.qkv.head_dim));
    const Value a = at.attention("attention", p.q, {{{.k = p.k, .v = p.v}}}, {.scale = scale});
    x = at.linear("out", a, layer.out, {.residual = x});
    const Value m = at.layer_norm("norm2", x, layer.norm2);
    const Value hidden = at.linear("fc1", m, layer.fc1, {.act = Act::gelu_tanh});
    x = at.linear("fc2", hidden, layer.fc2, {.residual = x});
    t.tap(numbered("vision.{slot}.block", i), x);
  }
  const Value post = r.layer_norm("post", x, weights_.post);
  t.tap("vision.{slot}.post", post);
  const Value tokens = prefix_rows_.image_tokens(t, cameras);
  r.linear("projector", post, weights_.projector, {.into = tokens});  // [V, N, Dp]
  t.tap("vision.{slot}.tokens", tokens);
  program.traces.push_back(std::move(t));
  return program.traces.size() - 1;
}

Value Pi05Model::prefix_layer(const nn::Recorder& r, Value x, std::size_t i, const PrefixKey& key,
                              const nn::Rotation& rotation) {
  const Config& c = config_;
  Trace& t = r.trace();
  const GemmaLayer& layer = weights_.prefix[i];
  const Shape cache{options_.batch, prefix_rows_.rows(key), c.kv_heads, c.head_dim};
  const nn::KeyValue to{t.buffer(buffers_.k[i], cache), t.buffer(buffers_.v[i], cache)};
  const bool last = options_.savings.trim_last_layer && i + 1 == weights_.prefix.size();
  const Value n = r.rms_norm("norm1", x, layer.norm1);
  const auto p = r.qkv("qkv", n, last ? layer.kv : layer.qkv, rotation, to);
  t.tap(numbered("kv.", i, ".k"), p.k, Trace::TapRows::packed_prefix);
  t.tap(numbered("kv.", i, ".v"), p.v, Trace::TapRows::packed_prefix);
  if (last) return {};
  const float scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim));
  const Value a =
      r.attention("attention", p.q, {{prefix_rows_.keys(t, p.k, p.v, key)}}, {.scale = scale});
  x = r.linear("o", a, layer.o, {.residual = x});
  x = r.gated_mlp(r.rms_norm("norm2", x, layer.norm2), layer.mlp, {.residual = x});
  t.tap(numbered("prefix.layer", i, ".out"), x, Trace::TapRows::packed_prefix);
  return x;
}

std::size_t Pi05Model::record_prefix(Program& program, const PrefixKey& key) {
  Trace t("prefix." + std::to_string(key.cameras) + "." + std::to_string(key.tokens), program);
  const nn::Recorder r(t, options_.working, "prefix.");
  const float scale = std::sqrt(static_cast<float>(config_.prefix_width));
  Value x = prefix_rows_.record(r, key, weights_.tokens, scale);  // [B, P, Dp]
  t.tap("prefix.embed", x, Trace::TapRows::packed_prefix);
  t.tap("prefix.positions", prefix_rows_.positions(t, key), Trace::TapRows::packed_prefix);
  const nn::Rotation rotation{t.buffer(buffers_.cos), t.buffer(buffers_.sin),
                              prefix_rows_.positions(t, key)};
  for (std::size_t i = 0; i < weights_.prefix.size(); ++i) {
    x = prefix_layer(r.at(std::to_string(i)), x, i, key, rotation);
  }
  program.traces.push_back(std::move(t));
  return program.traces.size() - 1;
}

// pi0.5: cond and every norm's (scale, shift, gate) for 16 time steps. pi0: the time half of the
// action-time MLP's first product.
std::size_t Pi05Model::record_time(Program& program, int first) {
  const Config& c = config_;
  const std::int64_t count = std::min<std::int64_t>(kTimeRows, options_.max_steps + 1 - first);
  Trace t("time." + std::to_string(first), program);
  const nn::Recorder r(t, kF32, "time.");
  const Value e = t.rows(t.buffer(buffers_.time), first, count);  // [R, De]
  if (first == 0) {
    t.tap("step{row}.t", t.rows(t.buffer(buffers_.times), 0, count));
    t.tap("step{row}.time_embed", e);
  }
  if (!c.adaptive) {
    r.linear("mix_time", e, weights_.mix_time,
             {.into = t.rows(t.buffer(buffers_.mixed_time), first, count)});
  } else {
    const Value hidden = r.linear("in", e, weights_.time_in, {.act = Act::silu});
    const Value cond = r.linear("out", hidden, weights_.time_out, {.act = Act::silu});
    if (first == 0) t.tap("step{row}.cond", cond);
    const Value table = t.rows(t.buffer(buffers_.modulation), first, count);
    for (std::size_t i = 0; i < weights_.modulation.size(); ++i) {
      const std::int64_t width = 3 * c.expert_width;
      r.linear(numbered("modulation.", i), cond, weights_.modulation[i],
               {.into = t.columns(table, static_cast<std::int64_t>(i) * width, width)});
    }
  }
  program.traces.push_back(std::move(t));
  return program.traces.size() - 1;
}

// What the expert's layers need to know of the trace around them.
struct Pi05Model::StepContext {
  PrefixKey key;
  nn::Rotation rotation;
  Value table_rows;  // i32: row of the time tables for the step, or for each suffix row
  std::int64_t first = 0, count = 0;  // the suffix rows computed here
  bool taps = true;
};

nn::Modulation Pi05Model::modulation(const nn::Recorder& r, std::size_t norm,
                                     const StepContext& c) const {
  if (!config_.adaptive) return {};
  const Value table = r.trace().buffer(buffers_.modulation);
  const std::int64_t at = static_cast<std::int64_t>(norm) * 3 * config_.expert_width;
  return {{table, c.table_rows, at}, {table, c.table_rows, at + config_.expert_width}};
}

Value Pi05Model::expert_layer(const nn::Recorder& r, Value x, std::size_t i, const StepContext& c) {
  Trace& t = r.trace();
  const GemmaLayer& layer = weights_.expert[i];
  const std::int64_t batch = options_.batch, heads = config_.kv_heads, dim = config_.head_dim;
  const Shape cache{batch, prefix_rows_.rows(c.key), heads, dim};
  const ops::Attention::Keys prefix =
      prefix_rows_.keys(t, t.buffer(buffers_.k[i], cache), t.buffer(buffers_.v[i], cache), c.key);
  const nn::Modulation m1 = modulation(r, 2 * i, c), m2 = modulation(r, 2 * i + 1, c);
  auto gate = [&](const nn::Modulation& m) {
    return RowTable{m.shift.table, m.shift.rows, m.shift.column + config_.expert_width};
  };
  nn::KeyValue to;
  ops::Attention::Keys own;
  if (!config_.adaptive) {  // the state token's row stays in the buffers over all steps
    const Value k = t.buffer(buffers_.state_k[i]), v = t.buffer(buffers_.state_v[i]);
    to = {t.slice(k, 1, c.first, c.count), t.slice(v, 1, c.first, c.count)};
    own = {.k = t.slice(k, 1, 0, c.first + c.count), .v = t.slice(v, 1, 0, c.first + c.count)};
  }
  const auto p = r.qkv("qkv", r.rms_norm("norm1", x, layer.norm1, m1), layer.qkv, c.rotation, to);
  if (config_.adaptive) own = {.k = p.k, .v = p.v};
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  const Value a = r.attention("attention", p.q, {{prefix, own}}, {.scale = scale});
  x = r.linear("o", a, layer.o, {.gate = gate(m1), .residual = x});
  x = r.gated_mlp(r.rms_norm("norm2", x, layer.norm2, m2), layer.mlp,
                  {.gate = gate(m2), .residual = x});
  return x;
}

// pi0: K and V of the state token, which sees the prefix and itself and no action.
std::size_t Pi05Model::record_state(Program& program, const PrefixKey& key) {
  Trace t("state." + std::to_string(key.cameras) + "." + std::to_string(key.tokens), program);
  const nn::Recorder r(t, options_.working, "state.");
  const std::int64_t batch = options_.batch;
  const Value token =
      r.linear("token", t.reshape(t.buffer(buffers_.state), {batch, 1, config_.action_dim}),
               weights_.state, {.dtype = &kF32});  // [B, 1, De]
  Value x = t.make(options_.working, t.shape(token));
  t.add(ops::Copy{.x = token, .out = x}, r.name("round"));
  StepContext c{.key = key, .count = 1};
  c.rotation = {t.buffer(buffers_.cos), t.buffer(buffers_.sin), t.buffer(buffers_.state_positions)};
  t.tap("step{step}.suffix.embed", token, Trace::TapRows::first);
  t.tap("suffix.positions", t.buffer(buffers_.state_positions), Trace::TapRows::first);
  for (std::size_t i = 0; i < weights_.expert.size(); ++i) {
    x = expert_layer(r.at(std::to_string(i)), x, i, c);
    t.tap(numbered("step{step}.expert.layer", i, ".out"), x, Trace::TapRows::first);
  }
  if (program.record_taps) {
    const Value final = r.rms_norm("final", x, weights_.expert_final);
    t.tap("step{step}.expert.final", final, Trace::TapRows::first);
  }
  program.traces.push_back(std::move(t));
  return program.traces.size() - 1;
}

// Action tokens before the expert, fp32 [B, H, De].
Value Pi05Model::suffix(const nn::Recorder& r, Value x, const StepContext& c) {
  Trace& t = r.trace();
  const Value u = r.linear("action_in", x, weights_.action_in, {.dtype = &kF32});
  if (config_.adaptive) return u;
  const Value time = t.make(kF32, {1, 1, config_.expert_width});
  t.add(ops::GatherRows{.x = t.buffer(buffers_.mixed_time), .index = c.table_rows, .out = time},
        r.name("mix_time"));
  const Value mixed = r.linear("mix_action", u, weights_.mix_action, {.dtype = &kF32});
  const Value sum = t.make(kF32, t.shape(u)), hidden = t.make(kF32, t.shape(u));
  t.add(ops::Add{.a = mixed, .b = time, .out = sum}, r.name("mix_add"));
  t.add(ops::Activation{.x = sum, .act = Act::silu, .out = hidden}, r.name("mix_silu"));
  return r.linear("mix_out", hidden, weights_.mix_out, {.dtype = &kF32});
}

std::size_t Pi05Model::record_step(Program& program, const PrefixKey& key, Pins pins) {
  const bool pinned = pins == Pins::clamped;
  const Config& cfg = config_;
  Trace t((pinned ? "pinned_step." : "step.") + std::to_string(key.cameras) + "." +
              std::to_string(key.tokens),
          program);
  const nn::Recorder r(t, options_.working, "step.");
  StepContext c{.key = key,
                .table_rows = t.iteration(),
                .first = cfg.suffix() - cfg.horizon,
                .count = cfg.horizon};
  const Value x = t.buffer(buffers_.x);  // [B, H, A]
  const Value mask = t.buffer(buffers_.pin_mask), decided = t.buffer(buffers_.pinned);
  if (pinned) {
    t.add(ops::Select{.mask = mask, .a = decided, .b = x, .out = x}, r.name("pin"));
    if (cfg.adaptive) {
      c.table_rows = t.make(DType::i32, {1, cfg.horizon});
      t.add(
          ops::GatherRows{
              .x = t.buffer(buffers_.pin_rows), .index = t.iteration(), .out = c.table_rows},
          r.name("pin_rows"));
    }
  }
  if (program.record_taps) t.tap("step{step}.x", snapshot(t, x));
  const Value embed = suffix(r, x, c);
  t.tap("step{step}.suffix.embed", embed, Trace::TapRows::last);
  t.tap("suffix.positions", t.buffer(buffers_.action_positions), Trace::TapRows::last);
  Value h = t.make(options_.working, t.shape(embed));
  t.add(ops::Copy{.x = embed, .out = h}, r.name("round"));
  c.rotation = {t.buffer(buffers_.cos), t.buffer(buffers_.sin),
                t.buffer(buffers_.action_positions)};
  for (std::size_t i = 0; i < weights_.expert.size(); ++i) {
    h = expert_layer(r.at(std::to_string(i)), h, i, c);
    t.tap(numbered("step{step}.expert.layer", i, ".out"), h, Trace::TapRows::last);
  }
  const nn::Recorder wide(t, kF32, "step.");
  const Value final = wide.rms_norm("final", h, weights_.expert_final,
                                    modulation(r, 2 * weights_.expert.size(), c));
  t.tap("step{step}.expert.final", final, Trace::TapRows::last);
  const Value velocity = wide.linear("action_out", final, weights_.action_out);  // [B, H, A]
  t.tap("step{step}.v", velocity);
  t.add(
      ops::Axpy{
          .x = x, .v = velocity, .scale = {t.buffer(buffers_.deltas), t.iteration()}, .out = x},
      r.name("euler"));
  if (pinned) t.add(ops::Select{.mask = mask, .a = decided, .b = x, .out = x}, r.name("pin"));
  program.traces.push_back(std::move(t));
  return program.traces.size() - 1;
}

}  // namespace tendon::pi05
