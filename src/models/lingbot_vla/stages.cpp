// The forward of each stage. Letters: V cameras, N patches of one, B batch, P prefix rows, S suffix
// rows.
#include <algorithm>

#include "base/text.h"
#include "models/lingbot_vla/model.h"

namespace tendon::lingbot_vla {

// Windows, and cameras where a block attends to all of one, are a batch of their own.
Value LingBotModel::vision_block(const nn::Recorder& r, Value x, std::size_t i, int cameras) const {
  const Config& c = config_;
  Trace& t = r.trace();
  const bool full =
      std::find(c.v_full.begin(), c.v_full.end(), static_cast<std::int64_t>(i)) != c.v_full.end();
  const std::int64_t groups = full ? cameras : cameras * c.windows();
  const std::int64_t rows = cameras * c.patches() / groups;
  const nn::Rotation rotation{t.buffer(vision_cos_), t.buffer(vision_sin_),
                              t.buffer(vision_positions_, {groups, rows})};
  const Shape keys{groups, rows, c.v_heads, c.v_width / c.v_heads};
  const nn::KeyValue own{t.make(r.working(), keys), t.make(r.working(), keys)};
  const Value out = nn::decoder_layer(
      r, t.reshape(x, {groups, rows, c.v_width}), weights_.vision[i],
      {.rotation = rotation, .to = own, .keys = {{{.k = own.k, .v = own.v}}}, .visible = {}});
  return t.reshape(out, t.shape(x));
}

Value LingBotModel::gather(Trace& t, Value rows, BufferRef order, const std::string& label) const {
  const Value out = t.make(t.dtype(rows), t.shape(rows));
  t.add(ops::GatherRows{.x = rows, .index = t.buffer(order, {t.shape(rows)[0]}), .out = out},
        label);
  return out;
}

void LingBotModel::record_vision(Trace& t, int cameras) const {
  const Config& c = config_;
  const std::int64_t n = c.patches() * cameras, inputs = c.patch * c.patch * 3;
  const nn::Recorder r(t, options().working, "vision.");
  const Value cut = t.reshape(patches(r, cameras), {n, inputs});
  Value x = r.linear("patch", gather(t, cut, window_order_, r.name("window_order")),
                     weights_.patch);  // [V N, Dv]
  if (t.program().record_taps) {       // recordings hold these rows cell by cell in raster order
    const Value cells = t.reshape(x, {n / 4, 4 * c.v_width});
    const Value raster = gather(t, cells, raster_order_, "snapshot");
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
  t.add(ops::GatherRows{.x = merged, .index = t.buffer(raster_order_, {n / 4}), .out = tokens},
        r.name("raster_order"));
  t.tap("vision.merger", tokens);
}

PrefixStack::Stage LingBotModel::prefix_stage() const {
  return {.layers = weights_.prefix,
          .table = weights_.tokens,
          .embeddings = "prefix.embeddings",
          .keys = "prefix.k.#",
          .values = "prefix.v.#",
          .layer = "prefix.layer.#"};
}

// The state's row of the suffix: the same in every step.
void LingBotModel::record_state(Trace& t, const PrefixKey&) const {
  const nn::Recorder r(t, options().working, "state.");
  r.linear("token", state(t), weights_.state, {.into = t.rows(t.buffer(suffix_), 0, 1)});
}

// s(t) and b(t) of every conditioned norm, and the time half of the action-time MLP's first
// product.
void LingBotModel::record_time(Trace& t, int first, int count) const {
  const nn::Recorder r(t, DType::f32, "time.");
  const Value time = denoising_.embeddings(t, first, count);  // [R, De]
  r.linear("mix_time", time, weights_.mix.time,
           {.into = t.rows(t.buffer(mixed_time_), first, count)});
  const Value table = t.rows(t.buffer(conditions_), first, count);
  r.linear_columns("condition.#", time, weights_.conditions, table);
  if (first > 0) return;
  t.tap("times", t.rows(denoising_.times(t), 0, count));
  t.tap("time_embedding", time);
  t.tap("time_embedding.step{row}", time);
  if (!t.program().record_taps) return;
  const std::int64_t e = config_.expert_width;
  t.tap("expert.layer.0.input_gamma", r.cast("gamma", t.columns(table, 0, e)));
  t.tap("expert.layer.0.input_beta", r.cast("beta", t.columns(table, e, e)));
}

nn::Modulation LingBotModel::condition(Trace& t, std::size_t norm) const {
  const Value table = t.buffer(conditions_);
  const std::int64_t at = static_cast<std::int64_t>(norm) * 2 * config_.expert_width;
  return {{table, t.iteration(), at}, {table, t.iteration(), at + config_.expert_width}};
}

Value LingBotModel::expert_layer(const nn::Recorder& r, Value x, std::size_t i,
                                 const PrefixKey& key) const {
  const Config& c = config_;
  Trace& t = r.trace();
  const Shape shape{options().batch, c.suffix(), c.kv_heads, c.head_dim};
  const DType type = prefix_.key_type();
  const nn::KeyValue own{t.make(type, shape), t.make(type, shape)};
  // The state sees itself and no action; actions see all.
  std::vector<std::int32_t> visible(static_cast<std::size_t>(c.suffix()),
                                    static_cast<std::int32_t>(c.suffix()));
  visible[0] = 1;
  x = nn::decoder_layer(r, x, weights_.expert[i],
                        {.rotation = prefix_.rotation(t, positions(t)),
                         .to = own,
                         .keys = {{prefix_.keys(t, i, key), {.k = own.k, .v = own.v}}},
                         .visible = visible,
                         .modulation = {condition(t, 2 * i), condition(t, 2 * i + 1)}});
  t.tap(numbered("expert.layer.#.step{step}", i), x);
  return x;
}

void LingBotModel::record_step(Trace& t, const PrefixKey& key, Pins pins) const {
  const Config& c = config_;
  const nn::Recorder r(t, options().working, "step."), wide(t, DType::f32, "step.");
  if (pins != Pins::none) denoising_.pin(r);
  t.tap("x[]", denoising_.snapshot(t));
  const Value u = wide.linear("action_in", denoising_.sample(t), weights_.action_in);  // [B, H, De]
  const Value suffix = t.buffer(suffix_);                                              // [B, S, De]
  nn::mix_time(wide, u, {t.buffer(mixed_time_), t.iteration()}, weights_.mix,
               {.into = t.rows(suffix, 1, c.horizon)});
  t.tap("suffix.embeddings[]", suffix);
  t.tap("suffix.embeddings.step{step}", suffix);
  Value h = suffix;
  for (std::size_t i = 0; i < weights_.expert.size(); ++i) {
    h = expert_layer(r.at(std::to_string(i)), h, i, key);
  }
  const Value final = wide.rms_norm("final", h, weights_.expert_final);
  t.tap("expert.final_norm.step{step}", final);
  const Value velocity =
      wide.linear("action_out", t.rows(final, 1, c.horizon), weights_.action_out);
  t.tap("velocity[]", velocity);
  denoising_.euler(r, velocity);
}

}  // namespace tendon::lingbot_vla
