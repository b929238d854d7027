#include "policy/policy_core.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/error.h"
#include "base/half.h"
#include "base/rng.h"
#include "preprocess/noise.h"

namespace tendon {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

PolicyCore::PolicyCore(PolicyParts parts)
    : parts_(std::move(parts)), dims_(parts_.model->dimensions()), runner_(*parts_.executable) {
  const std::size_t batch = parts_.preprocessors.size();
  samples_.resize(batch);
  for (std::size_t b = 0; b < batch; ++b) {
    Sample& s = samples_[b];
    s.prepared = parts_.preprocessors[b].make_input();
    if (by_frames()) {
      s.model.frames.resize(s.prepared.pictures.size());
    } else {
      s.model.cameras.assign(s.prepared.pictures.size(), nullptr);
    }
    s.images.reserve(8);
    s.vectors.reserve(8);
  }
  input_.samples.resize(batch);
  const std::size_t rows = batch * static_cast<std::size_t>(dims_.horizon);
  noise_.resize(rows * static_cast<std::size_t>(dims_.action));
  chunk_.resize(noise_.size());
  if (const auto& seed = contract().noise_seed) draw_own_noise(static_cast<std::uint32_t>(*seed));
}

// The same for every sample: the original draws it anew for each call of one sample, in the type of
// its weights.
void PolicyCore::draw_own_noise(std::uint32_t seed) {
  const std::size_t numbers = noise_.size() / samples_.size();
  own_noise_.resize(noise_.size());
  torch_cpu_noise(seed, std::span(own_noise_).first(numbers));
  if (parts_.model->options().working == DType::bf16) {
    for (float& v : own_noise_) v = round_bf16(v);
  }
  for (std::size_t b = 1; b < samples_.size(); ++b) {
    std::copy_n(own_noise_.begin(), numbers,
                own_noise_.begin() + static_cast<std::ptrdiff_t>(b * numbers));
  }
}

Status PolicyCore::prepare(const Observation& observation, std::size_t index) noexcept {
  Sample& s = samples_[index];
  s.images.clear();
  s.vectors.clear();
  for (const auto& camera : observation.cameras) {
    const Image& image = camera.image;
    if (image.data == nullptr) return Status("camera " + camera.name + ": no picture was given");
    s.images.push_back({.key = camera.name,
                        .data = image.data,
                        .shape = {image.height, image.width, 3},
                        .row_bytes = static_cast<std::ptrdiff_t>(image.row_bytes),
                        .channels = ChannelOrder::last});
  }
  for (const auto& vector : observation.state) s.vectors.push_back({vector.name, vector.values});
  ObservationView view{s.images, s.vectors, std::nullopt};
  if (!observation.prompt.empty()) {
    view.prompt = observation.prompt;
  } else if (!parts_.default_prompt.empty()) {
    view.prompt = parts_.default_prompt;
  }
  if (Status status = parts_.preprocessors[index].prepare(view, s.prepared); !status.ok()) {
    return status;
  }
  for (std::size_t i = 0; i < s.prepared.pictures.size(); ++i) {
    const PreparedPicture& picture = s.prepared.pictures[i];
    if (by_frames()) {
      s.model.frames[i] = picture.present ? picture.frames : std::span<const CameraFrame>();
    } else {
      s.model.cameras[i] = picture.present ? picture.values.data() : nullptr;
    }
  }
  s.model.tokens = std::span<const std::int32_t>(s.prepared.tokens)
                       .first(static_cast<std::size_t>(s.prepared.token_count));
  s.model.state = s.prepared.state;
  if (Status status = encode_text(s); !status.ok()) return status;
  input_.samples[index] = s.model;
  return {};
}

// The rows of the last prompt stay.
Status PolicyCore::encode_text(Sample& s) noexcept {
  if (!parts_.text_rows) return {};
  const std::span<const std::int32_t> ids = s.model.tokens;
  if (s.context.empty() ||
      !std::equal(ids.begin(), ids.end(), s.encoded.begin(), s.encoded.end())) {
    try {
      s.context = parts_.text_rows->rows(ids);
      s.encoded.assign(ids.begin(), ids.end());
    } catch (const std::exception& e) {
      s.context.clear();
      return Status(e.what());
    }
  }
  s.model.context = s.context;
  return {};
}

// FLOP of a call.
double PolicyCore::work(int cameras, int tokens) const {
  double flops = 0;
  const Program& program = parts_.executable->program();
  for (const auto& stage : parts_.model->stages(cameras, tokens, contract().steps)) {
    const Trace& trace = program.traces[stage.trace];
    for (const Op& op : trace.ops()) flops += cost(op, trace).flops * stage.count;
  }
  return flops;
}

void PolicyCore::prepare_frames(std::size_t index, std::span<const std::uint8_t> bytes, int side) {
  std::vector<ImageInput> images;
  for (const Picture& picture : contract().images.pictures) {
    for (const Camera& camera : picture.cameras) {
      images.push_back({.key = camera.keys[0],
                        .data = bytes.data(),
                        .shape = {side, side, 3},
                        .channels = ChannelOrder::last});
    }
  }
  const Status status =
      parts_.preprocessors[index].prepare_images({images, {}, {}}, samples_[index].prepared);
  require(status.ok(), "warm-up: {}", status.message());
}

void PolicyCore::warm_up(double flops) {
  Status status = parts_.model->prepare(contract().steps, runner_);
  require(status.ok(), "warm-up: {}", status.message());
  const ModelOptions& o = parts_.model->options();
  std::vector<float> pixels(static_cast<std::size_t>(dims_.image_height * dims_.image_width * 3));
  std::vector<float> state(static_cast<std::size_t>(dims_.state), 0.25f);
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(dims_.token_capacity), 1);
  std::vector<float> rows(tokens.size() * static_cast<std::size_t>(dims_.context_width));
  constexpr int kSide = 16;
  const std::vector<std::uint8_t> grey(std::size_t{kSide} * kSide * 3, 128);
  for (std::size_t b = 0; by_frames() && b < samples_.size(); ++b) prepare_frames(b, grey, kSide);
  fill_gaussian(1, 0, pixels);
  fill_gaussian(3, 0, rows);
  fill_gaussian(2, 0, noise_);
  input_.noise = noise_;
  input_.pinned = {};
  input_.steps = contract().steps;
  input_.shift = contract().shift;
  for (int cameras : o.camera_counts) {
    for (int bucket : o.token_buckets) {
      flops -= work(cameras, bucket) * static_cast<double>(samples_.size());
      if (flops < 0) return;
      for (std::size_t b = 0; b < samples_.size(); ++b) {
        ModelSample& sample = input_.samples[b];
        const auto slots = static_cast<std::size_t>(dims_.camera_slots);
        if (by_frames()) {
          sample.frames.assign(slots, {});
          for (std::size_t i = 0; i < static_cast<std::size_t>(cameras); ++i) {
            sample.frames[i] = samples_[b].prepared.pictures[i].frames;
          }
        } else {
          sample.cameras.assign(slots, nullptr);
          std::fill_n(sample.cameras.begin(), cameras, pixels.data());
        }
        sample.tokens = std::span(tokens).first(static_cast<std::size_t>(bucket));
        sample.context =
            std::span(rows).first(static_cast<std::size_t>(bucket * dims_.context_width));
        sample.state = state;
      }
      status = parts_.model->run(input_, runner_, chunk_);
      require(status.ok(), "warm-up: {}", status.message());
    }
  }
}

Status PolicyCore::fill_noise(const InferOptions& options) noexcept {
  if (options.noise.empty() && !options.seed && own_noise_.size() == noise_.size()) {
    std::copy(own_noise_.begin(), own_noise_.end(), noise_.begin());
  } else if (options.noise.empty()) {
    fill_gaussian(options.seed.value_or(0), 0, noise_);
  } else if (options.noise.size() != noise_.size()) {
    return Status("noise: batch x horizon x model width numbers are wanted");
  } else {
    std::copy(options.noise.begin(), options.noise.end(), noise_.begin());
  }
  for (float v : noise_) {
    if (!std::isfinite(v)) return Status("noise: a value is not finite");
  }
  return {};
}

Status PolicyCore::finish(std::size_t index, Chunk& chunk) noexcept {
  const Contract& c = contract();
  const std::size_t numbers =
      static_cast<std::size_t>(dims_.horizon) * static_cast<std::size_t>(dims_.action);
  chunk.horizon = dims_.horizon;
  chunk.width = c.returned_dims;
  chunk.model_width = dims_.action;
  chunk.model_actions.resize(numbers);
  chunk.actions.resize(static_cast<std::size_t>(chunk.horizon) *
                       static_cast<std::size_t>(chunk.width));
  std::copy_n(chunk_.begin() + static_cast<std::ptrdiff_t>(index * numbers), numbers,
              chunk.model_actions.begin());
  return parts_.preprocessors[index].finish(chunk.model_actions, samples_[index].prepared,
                                            chunk.actions);
}

Status PolicyCore::infer(std::span<const Observation> observations, const InferOptions& options,
                         std::span<Chunk> chunks) noexcept {
  const auto start = Clock::now();
  if (observations.size() != samples_.size() || chunks.size() != samples_.size()) {
    return Status(
        "as many observations and chunks are wanted as the batch the policy was loaded for");
  }
  for (std::size_t b = 0; b < observations.size(); ++b) {
    if (Status status = prepare(observations[b], b); !status.ok()) return status;
  }
  if (Status status = fill_noise(options); !status.ok()) return status;
  input_.noise = noise_;
  input_.steps = options.steps > 0 ? options.steps : contract().steps;
  input_.shift = options.shift != 0 ? options.shift : contract().shift;
  if (options.shift != 0 && contract().shift == 0) {
    return Status("shift: this policy's time schedule has none; leave it 0");
  }
  const std::size_t width = static_cast<std::size_t>(dims_.action);
  if (options.pinned.size() % width != 0 ||
      options.pinned.size() > width * static_cast<std::size_t>(dims_.horizon)) {
    return Status("pinned: whole rows of the model's action width are wanted, at most the horizon");
  }
  input_.pinned = options.pinned;
  input_.pin_rule = options.pin_rule;
  const double preprocess = seconds_since(start);
  if (Status status = parts_.model->run(input_, runner_, chunk_); !status.ok()) return status;
  const auto model_done = Clock::now();
  for (std::size_t b = 0; b < chunks.size(); ++b) {
    if (Status status = finish(b, chunks[b]); !status.ok()) return status;
  }
  for (Chunk& chunk : chunks) {
    chunk.timing.clear();
    chunk.timing.emplace_back("preprocess", preprocess);
    for (const auto& stage : runner_.times()) chunk.timing.push_back(stage);
    chunk.timing.emplace_back("postprocess", seconds_since(model_done));
    chunk.seconds = seconds_since(start);
  }
  return {};
}

}  // namespace tendon
