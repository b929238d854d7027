// The host side of a call: what is written before each stage, and the order of stages.
#include "models/fastwam/model.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "nn/tables.h"

namespace tendon::fastwam {
namespace {

constexpr double kDefaultShift = 5.0;
constexpr float kTrainSteps = 1000.0f;
// Added to a score it leaves the key a weight of exactly 0.
constexpr float kHidden = -1e30f;
constexpr PinRule kOtherPins[] = {PinRule::clamped, PinRule::conditioned};

// Point k of `steps` + 1 from 1 to 0, in fp32 and from the nearer end, as torch.linspace.
float line(int k, int steps) noexcept {
  const float step = -1.0f / static_cast<float>(steps);
  return k < (steps + 1) / 2 ? 1.0f + step * static_cast<float>(k)
                             : -step * static_cast<float>(steps - k);
}

}  // namespace

void sinusoid(double t, std::span<float> out) noexcept {
  const std::size_t half = out.size() / 2;
  for (std::size_t i = 0; i < half; ++i) {
    const double angle = t * std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(half));
    out[i] = static_cast<float>(std::cos(angle));
    out[half + i] = static_cast<float>(std::sin(angle));
  }
}

std::unique_ptr<Model> make_model(const Config& config, const ModelOptions& options,
                                  Checkpoint& checkpoint) {
  return std::make_unique<FastWamModel>(config, options, checkpoint);
}

FastWamModel::FastWamModel(const Config& config, const ModelOptions& options,
                           const Checkpoint& checkpoint)
    : config_(config),
      options_(options),
      checkpoint_(&checkpoint),
      denoising_({.horizon = config.horizon,
                  .action = config.action_dim,
                  .embedding = config.sinusoid,
                  .rows = options.max_steps + 1,
                  .pins = PinRule::renoised,
                  .more_pins = kOtherPins},
                 options),
      pictures_(fastwam::dimensions(config), options, 1) {
  require(!options.divided_schedule,
          "this family's times are not counted by division: its schedule is exact or bf16");
  require(options.batch == 1,
          "this family runs one sample at a time: load it with a batch of 1, not {}",
          options.batch);
  // Capacities for text rows; the last is the whole context.
  const auto whole = static_cast<int>(config.context_len);
  std::erase_if(options_.token_buckets,
                [&](int n) { return n >= whole || !options.savings.drop_masked; });
  options_.token_buckets.push_back(whole);
  context_.resize(static_cast<std::size_t>(config_.context_len * config_.text_width));
  bias_.resize(static_cast<std::size_t>(config_.context_len) + 2);
  sigmas_.resize(static_cast<std::size_t>(options_.max_steps) + 1);
}

void FastWamModel::record(Program& program) {
  weights_ = bind(config_, options_, *checkpoint_, program);
  add_buffers(program);
  vision_ = record_vision(program);
  state_ = record_state(program);
  denoising_.record_tables(
      [&](int first, int count) { return record_time(program, first, count); });
  for (int rows : options_.token_buckets) {
    text_.push_back(record_text(program, rows));
    prefix_.push_back(record_prefix(program, rows));
    step_.push_back(record_step(program, rows, PinRule::family));
    pinned_step_.push_back(record_step(program, rows, PinRule::renoised));
    conditioned_step_.push_back(record_step(program, rows, PinRule::conditioned));
  }
}

std::vector<Model::StageTrace> FastWamModel::stages(int, int tokens, int steps) const {
  const auto at = static_cast<std::size_t>(nn::bucket_index(options_.token_buckets, tokens));
  return {{"text", text_[at], 1},
          {"vision", vision_, 1},
          {"prefix", state_, 1},
          {"prefix", prefix_[at], 1},
          {"denoise", step_[at], steps}};
}

Status FastWamModel::validate(const ModelInput& input) const noexcept {
  if (input.samples.size() != 1) return Status("this family takes one sample in a call");
  if (!(input.shift >= 0) || !std::isfinite(input.shift)) {
    return Status("shift: a positive number, or 0 for the default");
  }
  const ModelSample& s = input.samples[0];
  if (camera_slots(s) != 1 || !has_camera(s, 0)) return Status("one composed picture is wanted");
  if (const Status status = pictures_.check(input); !status.ok()) return status;
  const auto width = static_cast<std::size_t>(config_.text_width);
  if (s.context.empty() || s.context.size() % width != 0) {
    return Status("text rows are wanted: encode the prompt or pass a file of them");
  }
  if (s.context.size() > context_.size())
    return Status("more text rows than the model's context holds");
  if (!s.state.empty() && s.state.size() != static_cast<std::size_t>(config_.state_dim)) {
    return Status("state: as many numbers are wanted as the model's state has");
  }
  return denoising_.check(input);
}

// Sigmas in fp32, their differences and times rounded once more where the original runs in bf16.
void FastWamModel::schedule(int steps, double shift, StageRunner& runner) noexcept {
  const float s = static_cast<float>(shift);
  for (int k = 0; k <= steps; ++k) {
    const float u = line(k, steps);
    sigmas_[static_cast<std::size_t>(k)] = s * u / (1.0f + (s - 1.0f) * u);
  }
  auto rounded = [&](float v) { return options_.bf16_schedule ? round_bf16(v) : v; };
  const auto fill = [&](int i, float time, float delta) {
    const Denoising::Row row = denoising_.row(static_cast<std::size_t>(i));
    row.time = rounded(time), row.delta = rounded(delta);
    sinusoid(row.time, row.embedding);
  };
  for (int k = 0; k < steps; ++k) {
    const auto at = static_cast<std::size_t>(k);
    fill(k, sigmas_[at] * kTrainSteps, sigmas_[at + 1] - sigmas_[at]);
  }
  fill(options_.max_steps, 0.0f, 0.0f);
  denoising_.write_tables(steps, runner);
  scheduled_steps_ = runner.status().ok() ? steps : 0;
  scheduled_shift_ = shift;
}

std::size_t FastWamModel::encode_context(const ModelSample& sample, StageRunner& runner) noexcept {
  const bool packed = options_.savings.drop_masked;
  const std::size_t width = static_cast<std::size_t>(config_.text_width);
  const std::size_t valid = sample.context.size() / width;
  const auto all = static_cast<std::size_t>(config_.context_len);
  const std::size_t rows = packed ? valid : all;
  const auto at =
      static_cast<std::size_t>(nn::bucket_index(options_.token_buckets, static_cast<int>(rows)));
  const bool same = encoded_rows_ == valid && std::memcmp(context_.data(), sample.context.data(),
                                                          sample.context.size_bytes()) == 0;
  if (!same) {
    encoded_rows_ = 0;
    std::fill(context_.begin(), context_.end(), 0.0f);
    std::copy(sample.context.begin(), sample.context.end(), context_.begin());
    runner.write<float>(buffers_.context, context_, 2 * width);
    runner.run("text", text_[at]);
    if (runner.status().ok()) encoded_rows_ = valid;
  }
  std::fill(bias_.begin(), bias_.end(), 0.0f);
  if (sample.state.empty()) bias_[0] = kHidden;
  const bool padding = packed && valid < all;
  bias_[1] = padding ? static_cast<float>(std::log(static_cast<double>(all - valid))) : kHidden;
  const auto length = static_cast<std::int32_t>(rows + 2);
  runner.write<float>(buffers_.context_bias, bias_);
  runner.write<std::int32_t>(buffers_.context_length, {&length, 1});
  return at;
}

Status FastWamModel::prepare(int steps, StageRunner& runner) noexcept {
  runner.begin();
  if (steps < 1 || steps > options_.max_steps) return Status("steps are outside [1, max_steps]");
  schedule(steps, kDefaultShift, runner);
  return runner.status();
}

Status FastWamModel::run(const ModelInput& input, StageRunner& runner,
                         std::span<float> chunk) noexcept {
  runner.begin();
  if (const Status status = validate(input); !status.ok()) return status;
  const ModelSample& sample = input.samples[0];
  const double shift = input.shift > 0 ? input.shift : kDefaultShift;
  if (scheduled_steps_ != input.steps || scheduled_shift_ != shift) {
    schedule(input.steps, shift, runner);
  }
  // State and picture need nothing of each other, and the device works while the host copies the
  // picture and compares the text with what it has.
  if (!sample.state.empty()) {
    runner.write<float>(buffers_.state, sample.state);
    runner.run("prefix", state_);
  }
  pictures_.write(input, runner);
  runner.run("vision", vision_);
  const std::size_t at = encode_context(sample, runner);
  runner.run("prefix", prefix_[at]);
  std::size_t step = step_[at];
  if (!input.pinned.empty()) {
    const bool renoised = input.pin_rule == PinRule::family || input.pin_rule == PinRule::renoised;
    denoising_.write_pins(input, input.steps, renoised ? std::span(sigmas_) : std::span<float>(),
                          runner);
    step = input.pin_rule == PinRule::conditioned ? conditioned_step_[at] : pinned_step_[at];
  }
  denoising_.run(input, {step, input.steps}, runner, [&] { schedule(input.steps, shift, runner); });
  denoising_.read(input, runner, chunk);
  return runner.status();
}

}  // namespace tendon::fastwam
