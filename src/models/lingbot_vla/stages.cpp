// The forward of each stage. Letters: V cameras, N patches of one, B batch, P prefix rows, S suffix
// rows.
#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "models/lingbot_vla/model.h"
#include "nn/tables.h"

namespace tendon::lingbot_vla {
namespace {

constexpr DType kF32 = DType::f32;

// Angles of patch rows in window order: the first half of the slots turns with y, the second with
// x. `narrow`: frequency, angle, cosine and sine each rounded to bf16, as the deployed module holds
// them.
nn::RopeTable vision_table(const Config& c, bool narrow) {
  const std::int64_t slots = c.v_width / c.v_heads / 4;
  const auto round = [narrow](float v) { return narrow ? round_bf16(v) : v; };
  const std::vector<float> frequencies = nn::rope_frequencies(10000.0f, 2 * slots);
  nn::RopeTable table;
  for (std::int32_t row : window_order(c)) {
    for (std::int64_t i = 0; i < 2 * slots; ++i) {
      const std::int64_t place = i < slots ? row / c.grid() : row % c.grid();
      const float f = round(frequencies[static_cast<std::size_t>(i % slots)]);
      const double angle = round(static_cast<float>(place) * f);
      table.cos.push_back(round(static_cast<float>(std::cos(angle))));
      table.sin.push_back(round(static_cast<float>(std::sin(angle))));
    }
  }
  return table;
}

// The order of one camera repeated for each, moved on by `rows` every time.
std::vector<std::int32_t> repeated(const std::vector<std::int32_t>& order, std::int64_t cameras,
                                   std::int64_t rows) {
  std::vector<std::int32_t> all;
  for (std::int64_t i = 0; i < cameras; ++i) {
    for (std::int32_t v : order) all.push_back(v + static_cast<std::int32_t>(i * rows));
  }
  return all;
}

}  // namespace

void LingBotModel::add_buffers(Program& program) {
  const Config& c = config_;
  const std::int64_t batch = options_.batch, cameras = batch * options_.camera_counts.back();
  const std::int64_t n = c.patches(), rows = table_rows_;
  Buffers& b = buffers_;
  b.images = program.add({"images", kF32, {cameras, c.image, c.image, 3}});
  b.window_order = program.constant("window_order", DType::i32, {cameras * n},
                                    repeated(window_order(c), cameras, n));
  b.raster_order = program.constant("raster_order", DType::i32, {cameras * c.cells()},
                                    repeated(raster_order(c), cameras, c.cells()));
  b.vision_positions = program.constant("vision_positions", DType::i32, {cameras * n},
                                        repeated(nn::counting(n), cameras, 0));
  const nn::RopeTable vision = vision_table(c, options_.bf16_rope);
  const std::int64_t half = c.v_width / c.v_heads / 2;
  b.vision_cos = program.constant("vision_cos", kF32, {n, half}, vision.cos);
  b.vision_sin = program.constant("vision_sin", kF32, {n, half}, vision.sin);
  prefix_.add_buffers(program);
  denoising_.add_buffers(program);
  b.positions = program.add({"positions", DType::i32, {batch, c.suffix()}});
  b.state = program.add({"state", kF32, {batch, 1, c.state_dim}});
  b.suffix = program.add({"suffix", options_.working, {batch, c.suffix(), c.e_width}});
  b.conditions = program.add({"conditions", kF32, {rows, c.layers * 4 * c.e_width}});
  b.mixed_time = program.add({"mixed_time", kF32, {rows, c.e_width}});
}

// Windows, and cameras where a block attends to all of one, are a batch of their own.
Value LingBotModel::vision_block(const nn::Recorder& r, Value x, std::size_t i, int cameras) const {
  const Config& c = config_;
  Trace& t = r.trace();
  const bool full =
      std::find(c.v_full.begin(), c.v_full.end(), static_cast<std::int64_t>(i)) != c.v_full.end();
  const std::int64_t groups = full ? cameras : cameras * c.windows();
  const std::int64_t rows = cameras * c.patches() / groups;
  const nn::Rotation rotation{t.buffer(buffers_.vision_cos), t.buffer(buffers_.vision_sin),
                              t.buffer(buffers_.vision_positions, {groups, rows})};
  const Shape keys{groups, rows, c.v_heads, c.v_width / c.v_heads};
  const nn::KeyValue own{t.make(r.working(), keys), t.make(r.working(), keys)};
  const Value out = nn::decoder_layer(
      r, t.reshape(x, {groups, rows, c.v_width}), weights_.vision[i],
      {.rotation = rotation, .to = own, .keys = {{{.k = own.k, .v = own.v}}}, .visible = {}});
  return t.reshape(out, t.shape(x));
}

std::size_t LingBotModel::record_vision(Program& program, int cameras) {
  const Config& c = config_;
  const std::int64_t n = c.patches() * cameras, g = c.grid(), inputs = c.patch * c.patch * 3;
  Trace t("vision." + std::to_string(cameras), program);
  const nn::Recorder r(t, options_.working, "vision.");
  const Value blocks = t.make(kF32, {cameras, g, g, inputs});
  t.add(ops::SpaceToDepth{.x = t.buffer(buffers_.images, {cameras, c.image, c.image, 3}),
                          .block = c.patch,
                          .out = blocks},
        r.name("patches"));
  const Value ordered = t.make(kF32, {n, inputs});
  t.add(ops::GatherRows{.x = t.reshape(blocks, {n, inputs}),
                        .index = t.buffer(buffers_.window_order, {n}),
                        .out = ordered},
        r.name("window_order"));
  Value x = r.linear("patch", ordered, weights_.patch);  // [V N, Dv]
  if (program.record_taps) {  // recordings hold these rows cell by cell in raster order
    const Shape cells{n / 4, 4 * c.v_width};
    const Value raster = t.make(t.dtype(x), cells);
    t.add(ops::GatherRows{.x = t.reshape(x, cells),
                          .index = t.buffer(buffers_.raster_order, {n / 4}),
                          .out = raster},
          "snapshot");
    t.tap("vision.patch", t.reshape(raster, t.shape(x)));
  }
  for (std::size_t i = 0; i < weights_.vision.size(); ++i) {
    x = vision_block(r.at(std::to_string(i)), x, i, cameras);
    t.tap(numbered("vision.block.#", i), x);
  }
  const Value normed = r.rms_norm("merger_norm", x, weights_.merger_norm);
  const Value cells = t.reshape(normed, {n / 4, 4 * c.v_width});
  const Value hidden = r.linear("merger1", cells, weights_.merger1, {.act = Act::gelu_erf});
  const Value merged = r.linear("merger2", hidden, weights_.merger2);  // [V N/4, D], window order
  const Value tokens = prefix_.rows().image_tokens(t, cameras);
  t.add(
      ops::GatherRows{
          .x = merged, .index = t.buffer(buffers_.raster_order, {n / 4}), .out = tokens},
      r.name("raster_order"));
  t.tap("vision.merger", tokens);
  program.traces.push_back(std::move(t));
  return program.traces.size() - 1;
}

std::size_t LingBotModel::record_prefix(Program& program, const PrefixKey& key) const {
  return prefix_.record(program, key,
                        {.layers = weights_.prefix,
                         .table = weights_.tokens,
                         .embeddings = "prefix.embeddings",
                         .keys = "prefix.k.#",
                         .values = "prefix.v.#",
                         .layer = "prefix.layer.#"});
}

// The state's row of the suffix: the same in every step.
std::size_t LingBotModel::record_state(Program& program) {
  Trace t("state", program);
  const nn::Recorder r(t, options_.working, "state.");
  r.linear("token", t.buffer(buffers_.state), weights_.state,
           {.into = t.rows(t.buffer(buffers_.suffix), 0, 1)});
  program.traces.push_back(std::move(t));
  return program.traces.size() - 1;
}

// s(t) and b(t) of every conditioned norm, and the time half of the action-time MLP's first
// product.
std::size_t LingBotModel::record_time(Program& program, int first, int count) {
  const std::int64_t e = config_.e_width;
  Trace t("time." + std::to_string(first), program);
  const nn::Recorder r(t, kF32, "time.");
  const Value time = denoising_.embeddings(t, first, count);  // [R, De]
  r.linear("mix_time", time, weights_.mix.time,
           {.into = t.rows(t.buffer(buffers_.mixed_time), first, count)});
  const Value table = t.rows(t.buffer(buffers_.conditions), first, count);
  for (std::size_t i = 0; i < weights_.conditions.size(); ++i) {
    r.linear(numbered("condition.#", i), time, weights_.conditions[i],
             {.into = t.columns(table, static_cast<std::int64_t>(i) * e, e)});
  }
  if (first == 0) {
    t.tap("times", t.rows(denoising_.times(t), 0, count));
    t.tap("time_embedding", time);
    t.tap("time_embedding.step{row}", time);
    if (program.record_taps) {
      for (std::size_t i = 0; i < 2; ++i) {
        const Value own = t.make(kF32, {count, e});
        t.add(ops::Copy{.x = t.columns(table, static_cast<std::int64_t>(i) * e, e), .out = own});
        t.tap(i == 0 ? "expert.layer.0.input_gamma" : "expert.layer.0.input_beta", own);
      }
    }
  }
  program.traces.push_back(std::move(t));
  return program.traces.size() - 1;
}

nn::Modulation LingBotModel::condition(Trace& t, std::size_t norm) const {
  const Value table = t.buffer(buffers_.conditions);
  const std::int64_t at = static_cast<std::int64_t>(norm) * 2 * config_.e_width;
  return {{table, t.iteration(), at}, {table, t.iteration(), at + config_.e_width}};
}

Value LingBotModel::expert_layer(const nn::Recorder& r, Value x, std::size_t i,
                                 const PrefixKey& key) const {
  const Config& c = config_;
  Trace& t = r.trace();
  const Shape shape{options_.batch, c.suffix(), c.kv_heads, c.head_dim};
  const nn::KeyValue own{t.make(key_type_, shape), t.make(key_type_, shape)};
  // The state sees itself and no action; actions see all.
  std::vector<std::int32_t> visible(static_cast<std::size_t>(c.suffix()),
                                    static_cast<std::int32_t>(c.suffix()));
  visible[0] = 1;
  x = nn::decoder_layer(r, x, weights_.expert[i],
                        {.rotation = prefix_.rotation(t, t.buffer(buffers_.positions)),
                         .to = own,
                         .keys = {{prefix_.keys(t, i, key), {.k = own.k, .v = own.v}}},
                         .visible = visible,
                         .modulation = {condition(t, 2 * i), condition(t, 2 * i + 1)}});
  t.tap(numbered("expert.layer.#.step{step}", i), x);
  return x;
}

std::size_t LingBotModel::record_step(Program& program, const PrefixKey& key, Pins pins) {
  const bool pinned = pins == Pins::clamped;
  const Config& c = config_;
  Trace t((pinned ? "pinned_step." : "step.") + std::to_string(key.cameras) + "." +
              std::to_string(key.tokens),
          program);
  const nn::Recorder r(t, options_.working, "step."), wide(t, kF32, "step.");
  if (pinned) denoising_.pin(r);
  t.tap("x[]", denoising_.snapshot(t));
  const Value u = wide.linear("action_in", denoising_.sample(t), weights_.action_in);  // [B, H, De]
  const Value time = t.make(kF32, {1, 1, c.e_width});
  t.add(ops::GatherRows{.x = t.buffer(buffers_.mixed_time), .index = t.iteration(), .out = time},
        r.name("mix_time"));
  const Value suffix = t.buffer(buffers_.suffix);  // [B, S, De]
  nn::mix_time(wide, u, time, weights_.mix, {.into = t.rows(suffix, 1, c.chunk)});
  t.tap("suffix.embeddings[]", suffix);
  t.tap("suffix.embeddings.step{step}", suffix);
  Value h = suffix;
  for (std::size_t i = 0; i < weights_.expert.size(); ++i) {
    h = expert_layer(r.at(std::to_string(i)), h, i, key);
  }
  const Value final = wide.rms_norm("final", h, weights_.expert_final);
  t.tap("expert.final_norm.step{step}", final);
  const Value velocity = wide.linear("action_out", t.rows(final, 1, c.chunk), weights_.action_out);
  t.tap("velocity[]", velocity);
  denoising_.euler(r, velocity);
  program.traces.push_back(std::move(t));
  return program.traces.size() - 1;
}

}  // namespace tendon::lingbot_vla
