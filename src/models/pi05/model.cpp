// The host side of a call: what is written before each stage, and the order of stages.
#include "models/pi05/model.h"

#include <algorithm>
#include <cmath>

#include "nn/tables.h"

namespace tendon::pi05 {
namespace {

constexpr double kShortestPeriod = 4e-3, kLongestPeriod = 4.0;

int valid_cameras(const ModelSample& sample) {
  return static_cast<int>(std::count_if(sample.cameras.begin(), sample.cameras.end(),
                                        [](const float* p) { return p != nullptr; }));
}

}  // namespace

std::unique_ptr<Model> make_model(const Config& config, const ModelOptions& options,
                                  Checkpoint& checkpoint) {
  return std::make_unique<Pi05Model>(config, options, checkpoint);
}

Pi05Model::Pi05Model(const Config& config, const ModelOptions& options, Checkpoint& checkpoint)
    : config_(config), options_(options), checkpoint_(&checkpoint) {
  const auto batch = static_cast<std::size_t>(options_.batch);
  const auto horizon = static_cast<std::size_t>(config_.horizon);
  const auto rows = static_cast<std::size_t>(options_.max_steps) + 1;
  const PrefixKey largest{options_.camera_counts.back(), options_.token_buckets.back()};
  ids_.resize(batch * static_cast<std::size_t>(largest.tokens));
  packing_.resize(batch * static_cast<std::size_t>(this->rows(largest)));
  lengths_.resize(batch);
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
      step_.push_back(record_step(program, key, false));
      pinned_step_.push_back(record_step(program, key, true));
    }
  }
}

Model::Dimensions Pi05Model::dimensions() const {
  Dimensions d = pi05::dimensions(config_);
  d.token_capacity = options_.token_buckets.back();
  return d;
}

std::size_t Pi05Model::bucket_index(const PrefixKey& bucket) const noexcept {
  const int camera = nn::bucket_index(options_.camera_counts, bucket.cameras);
  const int tokens = nn::bucket_index(options_.token_buckets, bucket.tokens);
  return static_cast<std::size_t>(camera) * options_.token_buckets.size() +
         static_cast<std::size_t>(tokens);
}

std::vector<Model::StageTrace> Pi05Model::stages(int cameras, int tokens, int steps) const {
  const std::size_t at = bucket_index({cameras, tokens});
  std::vector<StageTrace> all;
  const int pictures = cameras * options_.batch;
  if (pictures > 0) all.push_back({"vision", vision_[static_cast<std::size_t>(pictures - 1)], 1});
  all.push_back({"prefix", prefix_[at], 1});
  if (!config_.adaptive) all.push_back({"denoise", state_[at], 1});
  all.push_back({"denoise", step_[at], steps});
  return all;
}

Status Pi05Model::validate(const ModelInput& input, PrefixKey& bucket) const noexcept {
  if (input.samples.size() != static_cast<std::size_t>(options_.batch)) {
    return Status("the number of samples is not the batch the policy was loaded for");
  }
  if (input.steps < 1 || input.steps > options_.max_steps) {
    return Status("steps: at least 1 and at most the max_steps the policy was loaded with");
  }
  PrefixKey needed;
  for (const ModelSample& s : input.samples) {
    if (s.cameras.size() > static_cast<std::size_t>(config_.cameras)) {
      return Status("more cameras than the model has slots");
    }
    const bool dropping = options_.savings.drop_masked;
    needed.cameras = std::max(needed.cameras, dropping ? valid_cameras(s) : options_.camera_counts.back());
    needed.tokens = std::max(needed.tokens, static_cast<int>(s.tokens.size()));
  }
  if (!options_.savings.drop_masked) needed.tokens = options_.token_buckets.back();
  const int camera = nn::bucket_index(options_.camera_counts, needed.cameras);
  const int tokens = nn::bucket_index(options_.token_buckets, needed.tokens);
  if (camera < 0) return Status("more cameras than the policy was loaded for");
  if (tokens < 0) return Status("the prompt has more tokens than the contract's capacity");
  bucket = {options_.camera_counts[static_cast<std::size_t>(camera)],
            options_.token_buckets[static_cast<std::size_t>(tokens)]};
  return {};
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
  std::size_t at = 0;
  for (const ModelSample& s : input.samples) {
    for (const float* camera : s.cameras) {
      if (camera == nullptr) continue;
      runner.write<float>(buffers_.images, std::span<const float>(camera, pixels), at * pixels);
      ++at;
    }
  }
  if (at > 0) runner.run("vision", vision_[at - 1]);
}

void Pi05Model::write_prefix(const ModelInput& input, const PrefixKey& bucket,
                             StageRunner& runner) noexcept {
  const int patches = static_cast<int>(config_.patches()), per_sample = rows(bucket);
  const int images = options_.batch * options_.camera_counts.back() * patches;
  std::fill(packing_.begin(), packing_.end(), -1);
  std::fill(ids_.begin(), ids_.end(), 0);
  int camera = 0;
  for (std::size_t b = 0; b < input.samples.size(); ++b) {
    const ModelSample& s = input.samples[b];
    std::int32_t* row = packing_.data() + b * static_cast<std::size_t>(per_sample);
    int n = 0;
    for (int i = 0; i < valid_cameras(s); ++i, ++camera) {
      for (int p = 0; p < patches; ++p) row[n++] = camera * patches + p;
    }
    const int text = static_cast<int>(b) * bucket.tokens;
    for (std::size_t i = 0; i < s.tokens.size(); ++i) {
      ids_[static_cast<std::size_t>(text) + i] = s.tokens[i];
      row[n++] = images + text + static_cast<int>(i);
    }
    lengths_[b] = n;
  }
  const auto used = static_cast<std::size_t>(per_sample) * input.samples.size();
  runner.write<std::int32_t>(buffers_.packing, std::span(packing_).first(used));
  runner.write<std::int32_t>(buffers_.ids, ids_);
  runner.write<std::int32_t>(buffers_.lengths, lengths_);
  const std::int32_t skipped = config_.adaptive ? 0 : 1;
  const auto horizon = static_cast<std::size_t>(config_.horizon);
  for (std::size_t b = 0; b < lengths_.size(); ++b) {
    for (std::size_t i = 0; i < horizon; ++i) {
      positions_[b * horizon + i] = lengths_[b] + skipped + static_cast<std::int32_t>(i);
    }
  }
  runner.write<std::int32_t>(buffers_.action_positions, positions_);
  runner.write<std::int32_t>(buffers_.state_positions, lengths_);
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
  if (const Status status = validate(input, bucket); !status.ok()) return status;
  if (scheduled_steps_ != input.steps) schedule(input.steps, runner);
  write_vision(input, runner);
  write_prefix(input, bucket, runner);
  const std::size_t at = bucket_index(bucket);
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
