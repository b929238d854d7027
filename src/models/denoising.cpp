#include "models/denoising.h"

#include <algorithm>

namespace tendon {

Denoising::Denoising(const Layout& layout, const ModelOptions& options)
    : layout_(layout),
      batch_(options.batch),
      max_steps_(options.max_steps),
      tabulated_(options.savings.tabulate_time) {
  const auto rows = static_cast<std::size_t>(layout.rows);
  const auto actions = static_cast<std::size_t>(batch_ * layout.horizon);
  host_embeddings_.resize(rows * static_cast<std::size_t>(layout.embedding));
  host_times_.resize(rows);
  host_deltas_.resize(rows);
  host_pins_.resize(rows * actions * static_cast<std::size_t>(layout.action));
  host_mask_.resize(actions);
  host_rows_.resize(rows * static_cast<std::size_t>(layout.horizon));
}

void Denoising::add_buffers(Program& program) {
  const std::int64_t rows = layout_.rows, horizon = layout_.horizon, action = layout_.action;
  sample_ = program.add({"x", DType::f32, {batch_, horizon, action}});
  embeddings_ = program.add({"time", DType::f32, {rows, layout_.embedding}});
  times_ = program.add({"times", DType::f32, {rows, 1}});
  deltas_ = program.add({"deltas", DType::f32, {rows, 1}});
  pins_ = program.add({"pins", DType::f32, {rows, batch_ * horizon * action}});
  pin_mask_ = program.add({"pin_mask", DType::i32, {batch_ * horizon}});
  pin_rows_ = program.add({"pin_rows", DType::i32, {rows, horizon}});
}

void Denoising::record_tables(const std::function<std::size_t(int, int)>& record) {
  for (int first = 0; first < layout_.rows; first += kRows) {
    tables_.push_back(record(first, std::min(kRows, layout_.rows - first)));
  }
}

Value Denoising::embeddings(Trace& t, int first, int count) const {
  return t.rows(t.buffer(embeddings_), first, count);
}

Value Denoising::snapshot(Trace& t) const {
  if (!t.program().record_taps) return {};
  const Value x = sample(t), copy = t.make(DType::f32, t.shape(x));
  t.add(ops::Copy{.x = x, .out = copy}, "snapshot");
  return copy;
}

void Denoising::pin(const nn::Recorder& r) const {
  Trace& t = r.trace();
  const Value x = sample(t);
  const Value decided = t.make(DType::f32, {1, t.shape(x).numel()});
  t.add(ops::GatherRows{.x = t.buffer(pins_), .index = t.iteration(), .out = decided},
        r.name("pins"));
  t.add(
      ops::Select{
          .mask = t.buffer(pin_mask_), .a = t.reshape(decided, t.shape(x)), .b = x, .out = x},
      r.name("pin"));
}

Value Denoising::pinned_table_rows(const nn::Recorder& r) const {
  Trace& t = r.trace();
  const Value rows = t.make(DType::i32, {1, layout_.horizon});
  t.add(ops::GatherRows{.x = t.buffer(pin_rows_), .index = t.iteration(), .out = rows},
        r.name("pin_rows"));
  return rows;
}

void Denoising::euler(const nn::Recorder& r, Value velocity) const {
  Trace& t = r.trace();
  const Value x = sample(t);
  t.add(ops::Axpy{.x = x, .v = velocity, .scale = {deltas(t), t.iteration()}, .out = x},
        r.name("euler"));
}

Status Denoising::check(const ModelInput& input) const noexcept {
  if (input.steps < 1 || input.steps > max_steps_) {
    return Status("steps: at least 1 and at most the max_steps the policy was loaded with");
  }
  const auto row = static_cast<std::size_t>(layout_.action);
  const std::size_t numbers = row * static_cast<std::size_t>(layout_.horizon);
  if (input.noise.size() != numbers * static_cast<std::size_t>(batch_)) {
    return Status("noise: batch x horizon x action width numbers are wanted");
  }
  if (input.pinned.size() % row != 0 || input.pinned.size() > numbers) {
    return Status("pinned: whole rows are wanted, at most the horizon");
  }
  const auto& more = layout_.more_pins;
  if (input.pin_rule != PinRule::family && input.pin_rule != layout_.pins &&
      std::find(more.begin(), more.end(), input.pin_rule) == more.end()) {
    return Status("pinned: this family does not know that rule; leave it to the family");
  }
  return {};
}

Denoising::Row Denoising::row(std::size_t i) noexcept {
  const auto width = static_cast<std::size_t>(layout_.embedding);
  return {host_times_[i], host_deltas_[i],
          std::span<float>(host_embeddings_).subspan(i * width, width)};
}

void Denoising::write_tables(int count, StageRunner& runner) noexcept {
  runner.write<float>(times_, host_times_);
  runner.write<float>(deltas_, host_deltas_);
  runner.write<float>(embeddings_, host_embeddings_);
  for (std::size_t i = 0; i < tables_.size(); ++i) {
    const bool wanted = static_cast<int>(i) * kRows < count || i + 1 == tables_.size();
    if (wanted) runner.run("time", tables_[i]);
  }
}

void Denoising::write_pins(const ModelInput& input, int count, std::span<const float> sigmas,
                           StageRunner& runner) noexcept {
  const auto horizon = static_cast<std::size_t>(layout_.horizon);
  const auto width = static_cast<std::size_t>(layout_.action), numbers = horizon * width;
  const std::size_t rows = input.pinned.size() / width;
  const auto batch = static_cast<std::size_t>(batch_), steps = static_cast<std::size_t>(count);
  for (std::size_t k = 0; k < steps; ++k) {
    const float sigma = sigmas.empty() ? 0.0f : sigmas[k];
    for (std::size_t b = 0; b < batch; ++b) {
      float* to = host_pins_.data() + (k * batch + b) * numbers;
      const std::span<const float> noise = input.noise.subspan(b * numbers, numbers);
      for (std::size_t i = 0; i < input.pinned.size(); ++i) {
        to[i] = (1.0f - sigma) * input.pinned[i] + sigma * noise[i];
      }
    }
    for (std::size_t i = 0; i < horizon; ++i) {
      host_rows_[k * horizon + i] = i < rows ? layout_.rows - 1 : static_cast<std::int32_t>(k);
    }
  }
  for (std::size_t i = 0; i < host_mask_.size(); ++i) host_mask_[i] = i % horizon < rows ? 1 : 0;
  runner.write<float>(pins_, std::span<const float>(host_pins_).first(steps * batch * numbers));
  runner.write<std::int32_t>(pin_mask_, host_mask_);
  runner.write<std::int32_t>(pin_rows_,
                             std::span<const std::int32_t>(host_rows_).first(steps * horizon));
}

void Denoising::read(const ModelInput& input, StageRunner& runner,
                     std::span<float> chunk) const noexcept {
  runner.read<float>(sample_, chunk);
  const std::size_t numbers = chunk.size() / static_cast<std::size_t>(batch_);
  for (std::size_t b = 0; b < static_cast<std::size_t>(batch_); ++b) {
    std::copy(input.pinned.begin(), input.pinned.end(), chunk.subspan(b * numbers).begin());
  }
}

}  // namespace tendon
