// The host side of a call: what is written before each stage, and the order of stages.
#include "models/lingbot_vla/model.h"

#include <algorithm>

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
      prefix_rows_({.image_rows = config.cells(), .slots = config.cameras, .width = config.width},
                   options),
      // bf16 would lose eight times what the original's own products do; fp16 loses no more.
      key_type_(options.working == DType::f32 ? DType::f32 : DType::f16) {
  const auto batch = static_cast<std::size_t>(options.batch);
  const auto rows = static_cast<std::size_t>(table_rows());
  positions_.resize(batch * static_cast<std::size_t>(config.suffix()));
  pin_mask_.resize(batch * static_cast<std::size_t>(config.chunk));
  pinned_.resize(pin_mask_.size() * static_cast<std::size_t>(config.action_dim));
  state_values_.resize(batch * static_cast<std::size_t>(config.state_dim));
  embeddings_.resize(rows * static_cast<std::size_t>(config.e_width));
  times_.resize(rows);
  deltas_.resize(rows);
}

void LingBotModel::record(Program& program) {
  weights_ = bind(config_, options_, *checkpoint_, program);
  add_buffers(program);
  const int cameras = options_.batch * options_.camera_counts.back();
  for (int n = 1; n <= cameras; ++n) vision_.push_back(record_vision(program, n));
  for (int first = 0; first < table_rows(); first += kTimeRows) {
    time_.push_back(record_time(program, first));
  }
  state_ = record_state(program);
  for (int count : options_.camera_counts) {
    for (int tokens : options_.token_buckets) {
      const PrefixKey key{count, tokens};
      prefix_.push_back(record_prefix(program, key));
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
  const std::size_t at = prefix_rows_.index({cameras, tokens});
  const auto pictures = static_cast<std::size_t>(cameras * options_.batch);
  std::vector<StageTrace> all;
  if (pictures > 0) all.push_back({"vision", vision_[pictures - 1], 1});
  all.push_back({"prefix", prefix_[at], 1});
  all.push_back({"denoise", state_, 1});
  all.push_back({"denoise", step_[at], steps});
  return all;
}

void LingBotModel::schedule(int steps, StageRunner& runner) noexcept {
  const DType type = options_.bf16_schedule ? DType::bf16 : DType::f32;
  const Times schedule = time_schedule(steps, type, times_);
  const auto width = static_cast<std::size_t>(config_.e_width);
  for (std::size_t i = 0; i < static_cast<std::size_t>(schedule.count); ++i) {
    deltas_[i] = schedule.delta;
    time_embedding(times_[i], std::span(embeddings_).subspan(i * width, width));
  }
  runner.write<float>(buffers_.times, times_);
  runner.write<float>(buffers_.deltas, deltas_);
  runner.write<float>(buffers_.time, embeddings_);
  for (std::size_t i = 0; i < time_.size(); ++i) {
    if (static_cast<int>(i) * kTimeRows < schedule.count) runner.run("time", time_[i]);
  }
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
  const std::span<const std::int32_t> valid = prefix_rows_.valid();
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

bool LingBotModel::write_pins(const ModelInput& input, StageRunner& runner) noexcept {
  if (input.pinned.empty()) return false;
  const auto horizon = static_cast<std::size_t>(config_.chunk);
  const auto width = static_cast<std::size_t>(config_.action_dim);
  const std::size_t rows = std::min(input.pinned.size() / width, horizon);
  for (std::size_t b = 0; b < input.samples.size(); ++b) {
    for (std::size_t i = 0; i < horizon; ++i) pin_mask_[b * horizon + i] = i < rows ? 1 : 0;
    std::copy_n(input.pinned.begin(), rows * width,
                pinned_.begin() + static_cast<std::ptrdiff_t>(b * horizon * width));
  }
  runner.write<std::int32_t>(buffers_.pin_mask, pin_mask_);
  runner.write<float>(buffers_.pinned, pinned_);
  return true;
}

Status LingBotModel::run(const ModelInput& input, StageRunner& runner,
                         std::span<float> chunk) noexcept {
  runner.begin();
  PrefixKey key;
  if (const Status status = prefix_rows_.fit(input, key); !status.ok()) return status;
  if (input.steps < 1 || input.steps > options_.max_steps) {
    return Status("steps: at least 1 and at most the max_steps the policy was loaded with");
  }
  if (scheduled_steps_ != input.steps) schedule(input.steps, runner);
  write_vision(input, runner);
  prefix_rows_.write(input, key, runner);
  const std::size_t at = prefix_rows_.index(key);
  runner.run("prefix", prefix_[at]);
  write_suffix(input, runner);
  runner.write<float>(buffers_.x, input.noise);
  const std::size_t step = write_pins(input, runner) ? pinned_step_[at] : step_[at];
  if (options_.savings.tabulate_time) {
    runner.run("denoise", step, 0, evaluations_);
  } else {
    const int count = evaluations_;
    for (int i = 0; i < count; ++i) {
      schedule(input.steps, runner);
      runner.run("denoise", step, i, 1);
    }
  }
  runner.read<float>(buffers_.x, chunk);
  return runner.status();
}

}  // namespace tendon::lingbot_vla
