// The forward of each stage. Letters: V cameras, N patches, B batch, P prefix rows, S suffix rows.
#include <cmath>

#include "models/pi05/model.h"
#include "nn/tables.h"

namespace tendon::pi05 {
namespace {

constexpr DType kF32 = DType::f32;

}  // namespace

void Pi05Model::add_buffers(Program& program) {
  const Config& c = config_;
  const std::int64_t batch = options_.batch, cameras = batch * options_.camera_counts.back();
  const std::int64_t table_rows = options_.max_steps + 1;
  Buffers& b = buffers_;
  b.images = program.add({"images", kF32, {cameras, c.image, c.image, 3}});
  b.patch_rows =
      program.constant("patch_rows", DType::i32, {c.patches()}, nn::counting(c.patches()));
  prefix_.add_buffers(program);
  denoising_.add_buffers(program);
  b.state_positions = program.add({"state_positions", DType::i32, {batch, 1}});
  b.action_positions = program.add({"action_positions", DType::i32, {batch, c.horizon}});
  b.state = program.add({"state", kF32, {batch, c.action_dim}});
  if (c.adaptive) {
    b.modulation =
        program.add({"modulation", kF32, {table_rows, (2 * c.layers + 1) * 3 * c.expert_width}});
    return;
  }
  b.mixed_time = program.add({"mixed_time", kF32, {table_rows, c.expert_width}});
  const Shape own{batch, c.suffix(), c.kv_heads, c.head_dim};
  for (std::size_t i = 0; i < static_cast<std::size_t>(c.layers); ++i) {
    b.state_k.push_back(program.add({numbered("own_k.#", i), options_.working, own}));
    b.state_v.push_back(program.add({numbered("own_v.#", i), options_.working, own}));
  }
}

std::size_t Pi05Model::record_vision(Program& program, int cameras) {
  const Config& c = config_;
  const std::int64_t n = c.patches(), width = c.vision_width;
  Trace t("vision." + std::to_string(cameras), program);
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
    t.tap(numbered("vision.{slot}.block#", i), x);
  }
  const Value post = r.layer_norm("post", x, weights_.post);
  t.tap("vision.{slot}.post", post);
  const Value tokens = prefix_.rows().image_tokens(t, cameras);
  r.linear("projector", post, weights_.projector, {.into = tokens});  // [V, N, Dp]
  t.tap("vision.{slot}.tokens", tokens);
  program.traces.push_back(std::move(t));
  return program.traces.size() - 1;
}

std::size_t Pi05Model::record_prefix(Program& program, const PrefixKey& key) const {
  return prefix_.record(program, key,
                        {.layers = weights_.prefix,
                         .table = weights_.tokens,
                         .scale = std::sqrt(static_cast<float>(config_.prefix_width)),
                         .embeddings = "prefix.embed",
                         .keys = "kv.#.k",
                         .values = "kv.#.v",
                         .layer = "prefix.layer#.out"});
}

// pi0.5: cond and every norm's (scale, shift, gate) for 16 time steps. pi0: the time half of the
// action-time MLP's first product.
std::size_t Pi05Model::record_time(Program& program, int first, int count) {
  const Config& c = config_;
  Trace t("time." + std::to_string(first), program);
  const nn::Recorder r(t, kF32, "time.");
  const Value e = denoising_.embeddings(t, first, count);  // [R, De]
  if (first == 0) {
    t.tap("step{row}.t", t.rows(denoising_.times(t), 0, count));
    t.tap("step{row}.time_embed", e);
  }
  if (!c.adaptive) {
    r.linear("mix_time", e, weights_.mix.time,
             {.into = t.rows(t.buffer(buffers_.mixed_time), first, count)});
  } else {
    const Value hidden = r.linear("in", e, weights_.time_in, {.act = Act::silu});
    const Value cond = r.linear("out", hidden, weights_.time_out, {.act = Act::silu});
    if (first == 0) t.tap("step{row}.cond", cond);
    const Value table = t.rows(t.buffer(buffers_.modulation), first, count);
    for (std::size_t i = 0; i < weights_.modulation.size(); ++i) {
      const std::int64_t width = 3 * c.expert_width;
      r.linear(numbered("modulation.#", i), cond, weights_.modulation[i],
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
  const nn::Modulation m1 = modulation(r, 2 * i, c), m2 = modulation(r, 2 * i + 1, c);
  auto gate = [&](const nn::Modulation& m) {
    return RowTable{m.shift.table, m.shift.rows, m.shift.column + config_.expert_width};
  };
  nn::KeyValue to;
  ops::Attention::Keys own;
  if (config_.adaptive) {
    const Shape shape{options_.batch, c.count, config_.kv_heads, config_.head_dim};
    to = {t.make(r.working(), shape), t.make(r.working(), shape)};
    own = {.k = to.k, .v = to.v};
  } else {  // the state token's row stays in the buffers over all steps
    const Value k = t.buffer(buffers_.state_k[i]), v = t.buffer(buffers_.state_v[i]);
    to = {t.slice(k, 1, c.first, c.count), t.slice(v, 1, c.first, c.count)};
    own = {.k = t.slice(k, 1, 0, c.first + c.count), .v = t.slice(v, 1, 0, c.first + c.count)};
  }
  return nn::decoder_layer(r, x, weights_.expert[i],
                           {.rotation = c.rotation,
                            .to = to,
                            .keys = {{prefix_.keys(t, i, c.key), own}},
                            .visible = {},
                            .modulation = {m1, m2},
                            .gates = {gate(m1), gate(m2)}});
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
  c.rotation = prefix_.rotation(t, t.buffer(buffers_.state_positions));
  t.tap("step{step}.suffix.embed", token, Trace::TapRows::first);
  t.tap("suffix.positions", t.buffer(buffers_.state_positions), Trace::TapRows::first);
  for (std::size_t i = 0; i < weights_.expert.size(); ++i) {
    x = expert_layer(r.at(std::to_string(i)), x, i, c);
    t.tap(numbered("step{step}.expert.layer#.out", i), x, Trace::TapRows::first);
  }
  if (program.record_taps) {
    const Value final = r.rms_norm("final", x, weights_.expert_final);
    t.tap("step{step}.expert.final", final, Trace::TapRows::first);
  }
  program.traces.push_back(std::move(t));
  return program.traces.size() - 1;
}

// Action tokens before the expert, fp32 [B, H, De].
Value Pi05Model::suffix(const nn::Recorder& wide, const StepContext& c) {
  Trace& t = wide.trace();
  const Value u = wide.linear("action_in", denoising_.sample(t), weights_.action_in);
  if (config_.adaptive) return u;
  const Value time = t.make(kF32, {1, 1, config_.expert_width});
  t.add(ops::GatherRows{.x = t.buffer(buffers_.mixed_time), .index = c.table_rows, .out = time},
        wide.name("mix_time"));
  return nn::mix_time(wide, u, time, weights_.mix, {});
}

std::size_t Pi05Model::record_step(Program& program, const PrefixKey& key, Pins pins) {
  const bool pinned = pins == Pins::clamped;
  Trace t((pinned ? "pinned_step." : "step.") + std::to_string(key.cameras) + "." +
              std::to_string(key.tokens),
          program);
  const nn::Recorder r(t, options_.working, "step."), wide(t, kF32, "step.");
  const Value positions = t.buffer(buffers_.action_positions);
  StepContext c{.key = key,
                .rotation = prefix_.rotation(t, positions),
                .table_rows = t.iteration(),
                .first = config_.suffix() - config_.horizon,
                .count = config_.horizon};
  if (pinned) denoising_.pin(r);
  if (pinned && config_.adaptive) c.table_rows = denoising_.pinned_table_rows(r);
  t.tap("step{step}.x", denoising_.snapshot(t));
  const Value embed = suffix(wide, c);
  t.tap("step{step}.suffix.embed", embed, Trace::TapRows::last);
  t.tap("suffix.positions", positions, Trace::TapRows::last);
  Value h = t.make(options_.working, t.shape(embed));
  t.add(ops::Copy{.x = embed, .out = h}, r.name("round"));
  for (std::size_t i = 0; i < weights_.expert.size(); ++i) {
    h = expert_layer(r.at(std::to_string(i)), h, i, c);
    t.tap(numbered("step{step}.expert.layer#.out", i), h, Trace::TapRows::last);
  }
  const Value final = wide.rms_norm("final", h, weights_.expert_final,
                                    modulation(r, 2 * weights_.expert.size(), c));
  t.tap("step{step}.expert.final", final, Trace::TapRows::last);
  const Value velocity = wide.linear("action_out", final, weights_.action_out);  // [B, H, A]
  t.tap("step{step}.v", velocity);
  denoising_.euler(r, velocity);
  program.traces.push_back(std::move(t));
  return program.traces.size() - 1;
}

}  // namespace tendon::pi05
