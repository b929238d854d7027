// The host side of a call: what is written before each stage, and the order of stages.
#include "models/lingbot_vla/model.h"

#include <algorithm>

#include "base/error.h"

namespace tendon::lingbot_vla {

std::unique_ptr<Model> make_model(const Config& config, const ModelOptions& options,
                                  Checkpoint& checkpoint) {
  return std::make_unique<LingBotModel>(config, options, checkpoint);
}

LingBotModel::LingBotModel(const Config& config, const ModelOptions& options,
                           Checkpoint& checkpoint)
    : config_(config),
      options_(options),
      checkpoint_(&checkpoint),
      // bf16 would lose eight times what the original's own products do; fp16 loses no more.
      key_type_(options.working == DType::f32 ? DType::f32 : DType::f16),
      table_rows_(options.max_steps + options.max_steps / 16 + 2),
      prefix_(
          {.rows = {.image_rows = config.cells(), .slots = config.cameras, .width = config.width},
           .layers = config.layers,
           .kv_heads = config.kv_heads,
           .head_dim = config.head_dim,
           .suffix = config.suffix(),
           .frequencies = nn::rope_frequencies(10000.0f, config.head_dim),
           .key_type = key_type_},
          options),
      denoising_({.horizon = config.chunk,
                  .action = config.action_dim,
                  .embedding = config.e_width,
                  .rows = table_rows_,
                  .pins = PinRule::clamped,
                  .more_pins = {}},
                 options) {
  require(!options.divided_schedule,
          "this family's times are not counted by division: its schedule is exact or bf16");
  const auto batch = static_cast<std::size_t>(options.batch);
  positions_.resize(batch * static_cast<std::size_t>(config.suffix()));
  state_values_.resize(batch * static_cast<std::size_t>(config.state_dim));
  times_.resize(static_cast<std::size_t>(table_rows_));
}

void LingBotModel::record(Program& program) {
  weights_ = bind(config_, options_, *checkpoint_, program);
  add_buffers(program);
  const int cameras = options_.batch * options_.camera_counts.back();
  for (int n = 1; n <= cameras; ++n) vision_.push_back(record_vision(program, n));
  denoising_.record_tables(
      [&](int first, int count) { return record_time(program, first, count); });
  state_ = record_state(program);
  for (int count : options_.camera_counts) {
    for (int tokens : options_.token_buckets) {
      const PrefixKey key{count, tokens};
      prefix_traces_.push_back(record_prefix(program, key));
      step_.push_back(record_step(program, key, Pins::none));
      pinned_step_.push_back(record_step(program, key, Pins::clamped));
    }
  }
}

Model::Dimensions LingBotModel::dimensions() const {
  Dimensions d = lingbot_vla::dimensions(config_);
  d.token_capacity = options_.token_buckets.back();
  return d;
}

std::vector<Model::StageTrace> LingBotModel::stages(int cameras, int tokens, int steps) const {
  const std::size_t at = prefix_.rows().index({cameras, tokens});
  const auto pictures = static_cast<std::size_t>(cameras * options_.batch);
  std::vector<StageTrace> all;
  if (pictures > 0) all.push_back({"vision", vision_[pictures - 1], 1});
  all.push_back({"prefix", prefix_traces_[at], 1});
  all.push_back({"denoise", state_, 1});
  all.push_back({"denoise", step_[at], steps});
  return all;
}

void LingBotModel::schedule(int steps, StageRunner& runner) noexcept {
  const DType type = options_.bf16_schedule ? DType::bf16 : DType::f32;
  const Times schedule = time_schedule(steps, type, times_);
  for (std::size_t i = 0; i < static_cast<std::size_t>(schedule.count); ++i) {
    const Denoising::Row row = denoising_.row(i);
    row.time = times_[i], row.delta = schedule.delta;
    time_embedding(times_[i], row.embedding);
  }
  denoising_.write_tables(schedule.count, runner);
  evaluations_ = schedule.count;
  scheduled_steps_ = runner.status().ok() ? steps : 0;
}

Status LingBotModel::prepare(int steps, StageRunner& runner) noexcept {
  runner.begin();
  if (steps < 1 || steps > options_.max_steps) return Status("steps are outside [1, max_steps]");
  schedule(steps, runner);
  return runner.status();
}

void LingBotModel::write_vision(const ModelInput& input, StageRunner& runner) noexcept {
  const auto pixels = static_cast<std::size_t>(config_.image * config_.image * 3);
  const std::size_t count = write_images(input, buffers_.images, pixels, runner);
  if (count > 0) runner.run("vision", vision_[count - 1]);
}

// The suffix continues each sample's valid rows: the state, then the actions.
void LingBotModel::write_suffix(const ModelInput& input, StageRunner& runner) noexcept {
  const std::span<const std::int32_t> valid = prefix_.rows().valid();
  const auto rows = static_cast<std::size_t>(config_.suffix());
  const auto width = static_cast<std::size_t>(config_.state_dim);
  for (std::size_t b = 0; b < valid.size(); ++b) {
    for (std::size_t i = 0; i < rows; ++i) {
      positions_[b * rows + i] = valid[b] + static_cast<std::int32_t>(i);
    }
    std::copy_n(input.samples[b].state.begin(), width,
                state_values_.begin() + static_cast<std::ptrdiff_t>(b * width));
  }
  runner.write<std::int32_t>(buffers_.positions, positions_);
  runner.write<float>(buffers_.state, state_values_);
  runner.run("denoise", state_);
}

Status LingBotModel::run(const ModelInput& input, StageRunner& runner,
                         std::span<float> chunk) noexcept {
  runner.begin();
  PrefixKey key;
  if (const Status status = prefix_.rows().fit(input, key); !status.ok()) return status;
  if (const Status status = denoising_.check(input); !status.ok()) return status;
  if (scheduled_steps_ != input.steps) schedule(input.steps, runner);
  write_vision(input, runner);
  prefix_.rows().write(input, key, runner);
  const std::size_t at = prefix_.rows().index(key);
  runner.run("prefix", prefix_traces_[at]);
  write_suffix(input, runner);
  if (!input.pinned.empty()) denoising_.write_pins(input, evaluations_, {}, runner);
  const std::size_t step = input.pinned.empty() ? step_[at] : pinned_step_[at];
  denoising_.run(input, {step, evaluations_}, runner, [&] { schedule(input.steps, runner); });
  denoising_.read(input, runner, chunk);
  return runner.status();
}

}  // namespace tendon::lingbot_vla
