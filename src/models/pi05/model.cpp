// The host side of a call: what is written before each stage, and the order of stages.
#include "models/pi05/model.h"

#include <algorithm>
#include <cmath>

#include "nn/tables.h"

namespace tendon::pi05 {
namespace {

constexpr double kShortestPeriod = 4e-3, kLongestPeriod = 4.0;

}  // namespace

std::unique_ptr<Model> make_model(const Config& config, const ModelOptions& options,
                                  Checkpoint& checkpoint) {
  return std::make_unique<Pi05Model>(config, options, checkpoint);
}

Pi05Model::Pi05Model(const Config& config, const ModelOptions& options, Checkpoint& checkpoint)
    : config_(config),
      options_(options),
      checkpoint_(&checkpoint),
      prefix_rows_(
          {.image_rows = config.patches(), .slots = config.cameras, .width = config.prefix_width},
          options) {
  const auto batch = static_cast<std::size_t>(options_.batch);
  const auto horizon = static_cast<std::size_t>(config_.horizon);
  const auto rows = static_cast<std::size_t>(options_.max_steps) + 1;
  positions_.resize(batch * horizon);
  pin_mask_.resize(batch * horizon);
  pin_rows_.resize(rows * horizon);
  pinned_.resize(batch * horizon * static_cast<std::size_t>(config_.action_dim));
  state_values_.resize(batch * static_cast<std::size_t>(config_.action_dim));
  embeddings_.resize(rows * static_cast<std::size_t>(config_.expert_width));
  times_.resize(rows);
  deltas_.resize(rows);
}

void Pi05Model::record(Program& program) {
  weights_ = bind(config_, options_, *checkpoint_, program);
  add_buffers(program);
  const int cameras = options_.batch * options_.camera_counts.back();
  for (int n = 1; n <= cameras; ++n) vision_.push_back(record_vision(program, n));
  for (int first = 0; first <= options_.max_steps; first += kTimeRows) {
    time_.push_back(record_time(program, first));
  }
  for (int count : options_.camera_counts) {
    for (int tokens : options_.token_buckets) {
      const PrefixKey key{count, tokens};
      prefix_.push_back(record_prefix(program, key));
      if (!config_.adaptive) state_.push_back(record_state(program, key));
      step_.push_back(record_step(program, key, Pins::none));
      pinned_step_.push_back(record_step(program, key, Pins::clamped));
    }
  }
}

Model::Dimensions Pi05Model::dimensions() const {
  Dimensions d = pi05::dimensions(config_);
  d.token_capacity = options_.token_buckets.back();
  return d;
}

std::vector<Model::StageTrace> Pi05Model::stages(int cameras, int tokens, int steps) const {
  const std::size_t at = prefix_rows_.index({cameras, tokens});
  std::vector<StageTrace> all;
  const int pictures = cameras * options_.batch;
  if (pictures > 0) all.push_back({"vision", vision_[static_cast<std::size_t>(pictures - 1)], 1});
  all.push_back({"prefix", prefix_[at], 1});
  if (!config_.adaptive) all.push_back({"denoise", state_[at], 1});
  all.push_back({"denoise", step_[at], steps});
  return all;
}

// Times by repeated fp32 subtraction, as openpi's loop; row max_steps holds t = 0.
void Pi05Model::schedule(int steps, StageRunner& runner) noexcept {
  const auto width = static_cast<std::size_t>(config_.expert_width);
  const auto clean = static_cast<std::size_t>(options_.max_steps);
  const float dt = static_cast<float>(-1.0 / steps);
  float t = 1.0f;
  for (std::size_t i = 0; i < static_cast<std::size_t>(steps); ++i, t += dt) {
    times_[i] = t;
    deltas_[i] = dt;
  }
  times_[clean] = 0.0f;
  auto embed = [&](std::size_t i) {
    nn::time_embedding(times_[i], kShortestPeriod, kLongestPeriod,
                       std::span<float>(embeddings_).subspan(i * width, width));
  };
  for (std::size_t i = 0; i < static_cast<std::size_t>(steps); ++i) embed(i);
  embed(clean);
  runner.write<float>(buffers_.times, times_);
  runner.write<float>(buffers_.deltas, deltas_);
  runner.write<float>(buffers_.time, embeddings_);
  for (std::size_t i = 0; i < time_.size(); ++i) {
    const bool wanted = static_cast<int>(i) * kTimeRows < steps || i + 1 == time_.size();
    if (wanted) runner.run("time", time_[i]);
  }
  scheduled_steps_ = runner.status().ok() ? steps : 0;
}

void Pi05Model::write_vision(const ModelInput& input, StageRunner& runner) noexcept {
  const auto pixels = static_cast<std::size_t>(config_.image * config_.image * 3);
  const std::size_t count = write_images(input, buffers_.images, pixels, runner);
  if (count > 0) runner.run("vision", vision_[count - 1]);
}

// The suffix continues each sample's valid rows; pi0's state token comes first.
void Pi05Model::write_positions(StageRunner& runner) noexcept {
  const std::span<const std::int32_t> valid = prefix_rows_.valid();
  const std::int32_t skipped = config_.adaptive ? 0 : 1;
  const auto horizon = static_cast<std::size_t>(config_.horizon);
  for (std::size_t b = 0; b < valid.size(); ++b) {
    for (std::size_t i = 0; i < horizon; ++i) {
      positions_[b * horizon + i] = valid[b] + skipped + static_cast<std::int32_t>(i);
    }
  }
  runner.write<std::int32_t>(buffers_.action_positions, positions_);
  runner.write<std::int32_t>(buffers_.state_positions, valid);
}

// True where rows are pinned. Every pinned row is clean: it reads the tables at t = 0.
bool Pi05Model::write_pins(const ModelInput& input, StageRunner& runner) noexcept {
  if (input.pinned.empty()) return false;
  const auto horizon = static_cast<std::size_t>(config_.horizon);
  const auto width = static_cast<std::size_t>(config_.action_dim);
  const std::size_t rows = std::min(input.pinned.size() / width, horizon);
  for (std::size_t b = 0; b < input.samples.size(); ++b) {
    for (std::size_t i = 0; i < horizon; ++i) pin_mask_[b * horizon + i] = i < rows ? 1 : 0;
    std::copy_n(input.pinned.begin(), rows * width,
                pinned_.begin() + static_cast<std::ptrdiff_t>(b * horizon * width));
  }
  for (int step = 0; step < input.steps; ++step) {
    for (std::size_t i = 0; i < horizon; ++i) {
      pin_rows_[static_cast<std::size_t>(step) * horizon + i] =
          i < rows ? options_.max_steps : step;
    }
  }
  runner.write<std::int32_t>(buffers_.pin_mask, pin_mask_);
  runner.write<float>(buffers_.pinned, pinned_);
  runner.write<std::int32_t>(buffers_.pin_rows, pin_rows_);
  return true;
}

Status Pi05Model::prepare(int steps, StageRunner& runner) noexcept {
  runner.begin();
  if (steps < 1 || steps > options_.max_steps) return Status("steps are outside [1, max_steps]");
  schedule(steps, runner);
  return runner.status();
}

Status Pi05Model::run(const ModelInput& input, StageRunner& runner,
                      std::span<float> chunk) noexcept {
  runner.begin();
  PrefixKey bucket;
  if (const Status status = prefix_rows_.fit(input, bucket); !status.ok()) return status;
  if (input.steps < 1 || input.steps > options_.max_steps) {
    return Status("steps: at least 1 and at most the max_steps the policy was loaded with");
  }
  if (scheduled_steps_ != input.steps) schedule(input.steps, runner);
  write_vision(input, runner);
  prefix_rows_.write(input, bucket, runner);
  write_positions(runner);
  const std::size_t at = prefix_rows_.index(bucket);
  runner.run("prefix", prefix_[at]);
  if (!config_.adaptive) {
    const auto width = static_cast<std::size_t>(config_.action_dim);
    for (std::size_t b = 0; b < input.samples.size(); ++b) {
      std::copy_n(input.samples[b].state.begin(), width,
                  state_values_.begin() + static_cast<std::ptrdiff_t>(b * width));
    }
    runner.write<float>(buffers_.state, state_values_);
    runner.run("denoise", state_[at]);
  }
  runner.write<float>(buffers_.x, input.noise);
  const std::size_t step = write_pins(input, runner) ? pinned_step_[at] : step_[at];
  if (options_.savings.tabulate_time) {
    runner.run("denoise", step, 0, input.steps);
  } else {
    for (int i = 0; i < input.steps; ++i) {
      schedule(input.steps, runner);
      runner.run("denoise", step, i, 1);
    }
  }
  runner.read<float>(buffers_.x, chunk);
  return runner.status();
}

}  // namespace tendon::pi05
