// What the model is made of, its buffers and its schedule.
#include "models/pi05/model.h"

#include "base/error.h"
#include "base/half.h"
#include "base/text.h"

namespace tendon::pi05 {
namespace {

constexpr double kShortestPeriod = 4e-3, kLongestPeriod = 4.0;

std::vector<float> frequencies(const Config& c, const ModelOptions& options) {
  std::vector<float> all = nn::rope_frequencies(10000.0f, c.head_dim);
  if (options.bf16_rope) {
    for (float& f : all) f = round_bf16(f);
  }
  return all;
}

}  // namespace

Pi05Model::Pi05Model(const Config& c, const ModelOptions& options, const Checkpoint& checkpoint)
    : VisionLanguageModel({.config = c,
                           .image_rows = c.patches(),
                           .frequencies = frequencies(c, options),
                           .key_type = options.working,
                           .table_rows = options.max_steps + 1,
                           .pins = c.adaptive ? PinRule::conditioned : PinRule::clamped,
                           .rows = c.horizon,
                           .first = c.adaptive ? 0 : 1,
                           .state = c.adaptive ? Layout::State::none : Layout::State::after_prefix},
                          options, checkpoint),
      config_(c) {
  require(!options.bf16_schedule,
          "this family's times are never rounded: its schedule is exact or divided");
}

void Pi05Model::bind(Binder& binder, Program& program) {
  weights_ = pi05::bind(config_, options(), binder, program);
  const Config& c = config_;
  const std::int64_t table_rows = options().max_steps + 1;
  patch_numbers_ =
      program.constant("patch_numbers", DType::i32, {c.patches()}, nn::counting(c.patches()));
  if (c.adaptive) {
    const std::int64_t columns = (2 * c.layers + 1) * 3 * c.expert_width;
    modulation_ = program.add({"modulation", DType::f32, {table_rows, columns}});
    return;
  }
  mixed_time_ = program.add({"mixed_time", DType::f32, {table_rows, c.expert_width}});
  const Shape own{options().batch, 1 + c.horizon, c.kv_heads, c.head_dim};
  for (std::size_t i = 0; i < static_cast<std::size_t>(c.layers); ++i) {
    state_k_.push_back(program.add({numbered("own_k.#", i), options().working, own}));
    state_v_.push_back(program.add({numbered("own_v.#", i), options().working, own}));
  }
}

// Times by repeated fp32 subtraction, as openpi's loop, or by division; row max_steps holds t = 0.
int Pi05Model::fill_schedule(int steps) noexcept {
  const double step = -1.0 / steps;
  float t = 1.0f;
  const auto fill = [&](int i, float time) {
    const Denoising::Row row = denoising_.row(static_cast<std::size_t>(i));
    row.time = time, row.delta = static_cast<float>(step);
    nn::time_embedding(time, kShortestPeriod, kLongestPeriod, row.embedding);
  };
  for (int i = 0; i < steps; ++i, t += static_cast<float>(step)) {
    fill(i, options().divided_schedule ? static_cast<float>(1.0 + i * step) : t);
  }
  fill(options().max_steps, 0.0f);
  return steps;
}

}  // namespace tendon::pi05
