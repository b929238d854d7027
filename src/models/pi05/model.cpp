// The host side of a call: what is written before each stage, and the order of stages.
#include "models/pi05/model.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/half.h"

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

std::unique_ptr<Model> make_model(const Config& config, const ModelOptions& options,
                                  Checkpoint& checkpoint) {
  return std::make_unique<Pi05Model>(config, options, checkpoint);
}

Pi05Model::Pi05Model(const Config& config, const ModelOptions& options, Checkpoint& checkpoint)
    : config_(config),
      options_(options),
      checkpoint_(&checkpoint),
      prefix_({.rows = {.image_rows = config.patches(),
                        .slots = config.cameras,
                        .width = config.prefix_width},
               .layers = config.layers,
               .kv_heads = config.kv_heads,
               .head_dim = config.head_dim,
               .suffix = config.suffix(),
               .frequencies = frequencies(config, options),
               .key_type = options.working},
              options),
      denoising_({.horizon = config.horizon,
                  .action = config.action_dim,
                  .embedding = config.expert_width,
                  .rows = options.max_steps + 1,
                  .pins = config.adaptive ? PinRule::conditioned : PinRule::clamped,
                  .more_pins = {}},
                 options) {
  require(!options.bf16_schedule,
          "this family's times are never rounded: its schedule is exact or divided");
  const auto batch = static_cast<std::size_t>(options_.batch);
  positions_.resize(batch * static_cast<std::size_t>(config_.horizon));
  state_values_.resize(batch * static_cast<std::size_t>(config_.action_dim));
}

void Pi05Model::record(Program& program) {
  weights_ = bind(config_, options_, *checkpoint_, program);
  add_buffers(program);
  const int cameras = options_.batch * options_.camera_counts.back();
  for (int n = 1; n <= cameras; ++n) vision_.push_back(record_vision(program, n));
  denoising_.record_tables(
      [&](int first, int count) { return record_time(program, first, count); });
  for (int count : options_.camera_counts) {
    for (int tokens : options_.token_buckets) {
      const PrefixKey key{count, tokens};
      prefix_traces_.push_back(record_prefix(program, key));
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
  const std::size_t at = prefix_.rows().index({cameras, tokens});
  std::vector<StageTrace> all;
  const int pictures = cameras * options_.batch;
  if (pictures > 0) all.push_back({"vision", vision_[static_cast<std::size_t>(pictures - 1)], 1});
  all.push_back({"prefix", prefix_traces_[at], 1});
  if (!config_.adaptive) all.push_back({"denoise", state_[at], 1});
  all.push_back({"denoise", step_[at], steps});
  return all;
}

// Times by repeated fp32 subtraction, as openpi's loop, or by division; row max_steps holds t = 0.
void Pi05Model::schedule(int steps, StageRunner& runner) noexcept {
  const double step = -1.0 / steps;
  float t = 1.0f;
  const auto fill = [&](int i, float time) {
    const Denoising::Row row = denoising_.row(static_cast<std::size_t>(i));
    row.time = time, row.delta = static_cast<float>(step);
    nn::time_embedding(time, kShortestPeriod, kLongestPeriod, row.embedding);
  };
  for (int i = 0; i < steps; ++i, t += static_cast<float>(step)) {
    fill(i, options_.divided_schedule ? static_cast<float>(1.0 + i * step) : t);
  }
  fill(options_.max_steps, 0.0f);
  denoising_.write_tables(steps, runner);
  scheduled_steps_ = runner.status().ok() ? steps : 0;
}

void Pi05Model::write_vision(const ModelInput& input, StageRunner& runner) noexcept {
  const auto pixels = static_cast<std::size_t>(config_.image * config_.image * 3);
  const std::size_t count = write_images(input, buffers_.images, pixels, runner);
  if (count > 0) runner.run("vision", vision_[count - 1]);
}

// The suffix continues each sample's valid rows; pi0's state token comes first.
void Pi05Model::write_suffix(const ModelInput& input, const PrefixKey& key,
                             StageRunner& runner) noexcept {
  const std::span<const std::int32_t> valid = prefix_.rows().valid();
  const std::int32_t skipped = config_.adaptive ? 0 : 1;
  const auto horizon = static_cast<std::size_t>(config_.horizon);
  for (std::size_t b = 0; b < valid.size(); ++b) {
    for (std::size_t i = 0; i < horizon; ++i) {
      positions_[b * horizon + i] = valid[b] + skipped + static_cast<std::int32_t>(i);
    }
  }
  runner.write<std::int32_t>(buffers_.action_positions, positions_);
  runner.write<std::int32_t>(buffers_.state_positions, valid);
  if (config_.adaptive) return;
  const auto width = static_cast<std::size_t>(config_.action_dim);
  for (std::size_t b = 0; b < input.samples.size(); ++b) {
    std::copy_n(input.samples[b].state.begin(), width,
                state_values_.begin() + static_cast<std::ptrdiff_t>(b * width));
  }
  runner.write<float>(buffers_.state, state_values_);
  runner.run("denoise", state_[prefix_.rows().index(key)]);
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
  PrefixKey key;
  if (const Status status = prefix_.rows().fit(input, key); !status.ok()) return status;
  if (const Status status = denoising_.check(input); !status.ok()) return status;
  if (scheduled_steps_ != input.steps) schedule(input.steps, runner);
  write_vision(input, runner);
  prefix_.rows().write(input, key, runner);
  const std::size_t at = prefix_.rows().index(key);
  runner.run("prefix", prefix_traces_[at]);
  write_suffix(input, key, runner);
  if (!input.pinned.empty()) denoising_.write_pins(input, input.steps, {}, runner);
  const std::size_t step = input.pinned.empty() ? step_[at] : pinned_step_[at];
  denoising_.run(input, {step, input.steps}, runner, [&] { schedule(input.steps, runner); });
  denoising_.read(input, runner, chunk);
  return runner.status();
}

}  // namespace tendon::pi05
