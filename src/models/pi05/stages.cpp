// The forward of each stage. Letters: V cameras, N patches, B batch, P prefix rows, S suffix rows.
#include <cmath>

#include "base/text.h"
#include "models/pi05/model.h"

namespace tendon::pi05 {

void Pi05Model::record_vision(Trace& t, int cameras) const {
  const nn::Recorder r(t, options().working, "vision.");
  const Value rows = siglip::record(r, weights_.vision, patches(r, cameras),
                                    t.buffer(patch_numbers_));  // [V, N, Dv]
  const Value tokens = prefix_.rows().image_tokens(t, cameras);
  r.linear("projector", rows, weights_.projector, {.into = tokens});  // [V, N, Dp]
  t.tap("vision.{slot}.tokens", tokens);
}

PrefixStack::Stage Pi05Model::prefix_stage() const {
  return {.layers = weights_.prefix,
          .table = weights_.tokens,
          .scale = std::sqrt(static_cast<float>(config_.prefix_width)),
          .embeddings = "prefix.embed",
          .keys = "kv.#.k",
          .values = "kv.#.v",
          .layer = "prefix.layer#.out"};
}

// pi0.5: cond and every norm's (scale, shift, gate) for 16 time steps. pi0: the time half of the
// action-time MLP's first product.
void Pi05Model::record_time(Trace& t, int first, int count) const {
  const nn::Recorder r(t, DType::f32, "time.");
  const Value e = denoising_.embeddings(t, first, count);  // [R, De]
  if (first == 0) {
    t.tap("step{row}.t", t.rows(denoising_.times(t), 0, count));
    t.tap("step{row}.time_embed", e);
  }
  if (!config_.adaptive) {
    r.linear("mix_time", e, weights_.mix.time,
             {.into = t.rows(t.buffer(mixed_time_), first, count)});
    return;
  }
  const Value hidden = r.linear("in", e, weights_.time_in, {.act = Act::silu});
  const Value cond = r.linear("out", hidden, weights_.time_out, {.act = Act::silu});
  if (first == 0) t.tap("step{row}.cond", cond);
  r.linear_columns("modulation.#", cond, weights_.modulation,
                   t.rows(t.buffer(modulation_), first, count));
}

RowTable Pi05Model::part(Trace& t, std::size_t norm, std::int64_t part,
                         const StepContext& c) const {
  if (!config_.adaptive) return {};
  const std::int64_t at = static_cast<std::int64_t>(norm) * 3 + part;
  return {t.buffer(modulation_), c.table_rows, at * config_.expert_width};
}

nn::Modulation Pi05Model::modulation(Trace& t, std::size_t norm, const StepContext& c) const {
  return {part(t, norm, 0, c), part(t, norm, 1, c)};
}

Value Pi05Model::expert_layer(const nn::Recorder& r, Value x, std::size_t i,
                              const StepContext& c) const {
  Trace& t = r.trace();
  nn::KeyValue to;
  ops::Attention::Keys own;
  if (config_.adaptive) {
    const Shape shape{options().batch, c.count, config_.kv_heads, config_.head_dim};
    to = {t.make(r.working(), shape), t.make(r.working(), shape)};
    own = {.k = to.k, .v = to.v};
  } else {  // the state token's row stays in the buffers over all steps
    const Value k = t.buffer(state_k_[i]), v = t.buffer(state_v_[i]);
    to = {t.slice(k, 1, c.first, c.count), t.slice(v, 1, c.first, c.count)};
    own = {.k = t.slice(k, 1, 0, c.first + c.count), .v = t.slice(v, 1, 0, c.first + c.count)};
  }
  return nn::decoder_layer(r, x, weights_.expert[i],
                           {.rotation = c.rotation,
                            .to = to,
                            .keys = {{prefix_.keys(t, i, c.key), own}},
                            .visible = {},
                            .modulation = {modulation(t, 2 * i, c), modulation(t, 2 * i + 1, c)},
                            .gates = {part(t, 2 * i, 2, c), part(t, 2 * i + 1, 2, c)}});
}

// pi0: K and V of the state token, which sees the prefix and itself and no action.
void Pi05Model::record_state(Trace& t, const PrefixKey& key) const {
  const nn::Recorder r(t, options().working, "state.");
  const Value token =
      r.linear("token", state(t), weights_.state, {.dtype = DType::f32});  // [B, 1, De]
  const Value position = state_position(t);
  const StepContext c{.key = key, .rotation = prefix_.rotation(t, position), .count = 1};
  t.tap("step{step}.suffix.embed", token, Trace::TapRows::first);
  t.tap("suffix.positions", position, Trace::TapRows::first);
  Value x = r.cast("round", token);
  for (std::size_t i = 0; i < weights_.expert.size(); ++i) {
    x = expert_layer(r.at(std::to_string(i)), x, i, c);
    t.tap(numbered("step{step}.expert.layer#.out", i), x, Trace::TapRows::first);
  }
  if (t.program().record_taps) {
    const Value final = r.rms_norm("final", x, weights_.expert_final);
    t.tap("step{step}.expert.final", final, Trace::TapRows::first);
  }
}

void Pi05Model::record_step(Trace& t, const PrefixKey& key, Pins pins) const {
  const nn::Recorder r(t, options().working, "step."), wide(t, DType::f32, "step.");
  StepContext c{.key = key,
                .rotation = prefix_.rotation(t, positions(t)),
                .table_rows = t.iteration(),
                .first = config_.adaptive ? 0 : 1,
                .count = config_.horizon};
  if (pins != Pins::none) {
    denoising_.pin(r);
    if (config_.adaptive) c.table_rows = denoising_.pinned_table_rows(r);
  }
  t.tap("step{step}.x", denoising_.snapshot(t));
  Value embed = wide.linear("action_in", denoising_.sample(t), weights_.action_in);  // [B, H, De]
  if (!config_.adaptive) {
    embed = nn::mix_time(wide, embed, {t.buffer(mixed_time_), c.table_rows}, weights_.mix, {});
  }
  t.tap("step{step}.suffix.embed", embed, Trace::TapRows::last);
  t.tap("suffix.positions", positions(t), Trace::TapRows::last);
  Value h = r.cast("round", embed);
  for (std::size_t i = 0; i < weights_.expert.size(); ++i) {
    h = expert_layer(r.at(std::to_string(i)), h, i, c);
    t.tap(numbered("step{step}.expert.layer#.out", i), h, Trace::TapRows::last);
  }
  const Value final = wide.rms_norm("final", h, weights_.expert_final,
                                    modulation(t, 2 * weights_.expert.size(), c));
  t.tap("step{step}.expert.final", final, Trace::TapRows::last);
  const Value velocity = wide.linear("action_out", final, weights_.action_out);  // [B, H, A]
  t.tap("step{step}.v", velocity);
  denoising_.euler(r, velocity);
}

}  // namespace tendon::pi05
