// What the model is made of, its buffers and its schedule.
#include "models/lingbot_vla/model.h"

#include <cmath>

#include "base/error.h"
#include "base/half.h"

namespace tendon::lingbot_vla {
namespace {

// The loop at bf16 times may take more steps than were asked for.
int table_rows(const ModelOptions& options) {
  return options.max_steps + options.max_steps / 16 + 2;
}

// bf16 would lose eight times what the original's own products do; fp16 loses no more.
DType key_type(const ModelOptions& options) {
  return options.working == DType::f32 ? DType::f32 : DType::f16;
}

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

LingBotModel::LingBotModel(const Config& c, const ModelOptions& options,
                           const Checkpoint& checkpoint)
    : VisionLanguageModel({.config = c,
                           .image_rows = c.cells(),
                           .frequencies = nn::rope_frequencies(10000.0f, c.head_dim),
                           .key_type = key_type(options),
                           .table_rows = table_rows(options),
                           .rows = c.suffix(),
                           .state = Layout::State::alone},
                          options, checkpoint),
      config_(c),
      times_(static_cast<std::size_t>(table_rows(options))) {
  require(!options.divided_schedule,
          "this family's times are not counted by division: its schedule is exact or bf16");
}

void LingBotModel::bind(Binder& binder, Program& program) {
  weights_ = lingbot_vla::bind(config_, options(), binder, program);
  add_vision_tables(program);
  const Config& c = config_;
  const std::int64_t rows = table_rows(options());
  suffix_ =
      program.add({"suffix", options().working, {options().batch, c.suffix(), c.expert_width}});
  conditions_ = program.add({"conditions", DType::f32, {rows, c.layers * 4 * c.expert_width}});
  mixed_time_ = program.add({"mixed_time", DType::f32, {rows, c.expert_width}});
}

void LingBotModel::add_vision_tables(Program& program) {
  const Config& c = config_;
  const std::int64_t cameras = options().batch * options().camera_counts.back(), n = c.patches();
  window_order_ = program.constant("window_order", DType::i32, {cameras * n},
                                   repeated(window_order(c), cameras, n));
  raster_order_ = program.constant("raster_order", DType::i32, {cameras * c.cells()},
                                   repeated(raster_order(c), cameras, c.cells()));
  vision_positions_ = program.constant("vision_positions", DType::i32, {cameras * n},
                                       repeated(nn::counting(n), cameras, 0));
  const nn::RopeTable vision = vision_table(c, options().bf16_rope);
  const std::int64_t half = c.v_width / c.v_heads / 2;
  vision_cos_ = program.constant("vision_cos", DType::f32, {n, half}, vision.cos);
  vision_sin_ = program.constant("vision_sin", DType::f32, {n, half}, vision.sin);
}

int LingBotModel::fill_schedule(int steps) noexcept {
  const DType type = options().bf16_schedule ? DType::bf16 : DType::f32;
  const Times schedule = time_schedule(steps, type, times_);
  for (std::size_t i = 0; i < static_cast<std::size_t>(schedule.count); ++i) {
    const Denoising::Row row = denoising_.row(i);
    row.time = times_[i], row.delta = schedule.delta;
    time_embedding(times_[i], row.embedding);
  }
  return schedule.count;
}

}  // namespace tendon::lingbot_vla
