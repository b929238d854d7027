#include "models/vision_language.h"

#include <algorithm>

namespace tendon {
namespace {

template <class F>
std::size_t append(Program& program, std::string name, F record) {
  Trace t(std::move(name), program);
  record(t);
  program.traces.push_back(std::move(t));
  return program.traces.size() - 1;
}

}  // namespace

nn::Bind::Stack VisionLanguageConfig::prefix(nn::Bind::Stack::End end) const {
  return {.shape = {prefix_width, q_heads, kv_heads, head_dim},
          .mlp = prefix_mlp,
          .layers = layers,
          .style = style,
          .end = end};
}

nn::Bind::Stack VisionLanguageConfig::expert() const {
  return {.shape = {expert_width, q_heads, kv_heads, head_dim},
          .mlp = expert_mlp,
          .layers = layers,
          .style = style};
}

std::vector<Dimension> dimensions_of(VisionLanguageConfig& c, const VisionLanguageNames& at) {
  const std::string gate = at.prefix + "layers.0.mlp.gate_proj.weight";
  const std::string expert_gate = at.expert + "layers.0.mlp.gate_proj.weight";
  return {{"image", &c.image},
          {"patch", &c.patch, {}, at.patch, 3},
          {"cameras", &c.cameras},
          {"prefix_width", &c.prefix_width, "width", gate, 1},
          {"prefix_mlp", &c.prefix_mlp, "mlp", gate, 0},
          {"expert_width", &c.expert_width, "e_width", expert_gate, 1},
          {"expert_mlp", &c.expert_mlp, "e_mlp", expert_gate, 0},
          {"layers", &c.layers, {}, at.prefix + "layers.#.self_attn.k_proj.weight"},
          {"q_heads", &c.q_heads, "heads"},
          {"kv_heads", &c.kv_heads},
          {"head_dim", &c.head_dim},
          {"vocab", &c.vocab},
          {"prompt_len", &c.prompt_len, "lmax"},
          {"action_dim", &c.action_dim, {}, at.products + "action_in_proj.weight", 1},
          {"horizon", &c.horizon, "chunk"}};
}

Model::Dimensions dimensions(const VisionLanguageConfig& c) {
  return {.image_height = static_cast<int>(c.image),
          .image_width = static_cast<int>(c.image),
          .camera_slots = static_cast<int>(c.cameras),
          .token_capacity = static_cast<int>(c.prompt_len),
          .horizon = static_cast<int>(c.horizon),
          .action = static_cast<int>(c.action_dim),
          .state = static_cast<int>(c.state_dim)};
}

nn::Bind::Stack::End prefix_end(const ModelOptions& options, const Program& program) {
  using End = nn::Bind::Stack::End;
  return trims_last_layer(options, program) ? End::keys_and_values : End::rows;
}

void describe_vision_language(Family& family, std::string_view schedule, std::string_view pinned) {
  family.stages = {"vision", "prefix", "denoise"};
  family.capabilities = {{"steps", "any number up to --max-steps; Euler from t = 1 to 0"},
                         {"schedule", schedule},
                         {"pinned", pinned},
                         {"cameras", "any of its slots; absent ones are left out exactly"},
                         {"context", "not taken: text is embedded with the prefix"},
                         {"batch", "any; each sample has its own cameras and prompt"}};
}

VisionLanguageModel::VisionLanguageModel(Layout layout, const ModelOptions& options,
                                         const Checkpoint& checkpoint)
    : prefix_({.rows = {layout.image_rows, layout.config.cameras, layout.config.prefix_width},
               .layers = layout.config.layers,
               .kv_heads = layout.config.kv_heads,
               .head_dim = layout.config.head_dim,
               .suffix = layout.first + layout.rows,
               .frequencies = layout.frequencies,
               .key_type = layout.key_type},
              options),
      denoising_({.horizon = layout.config.horizon,
                  .action = layout.config.action_dim,
                  .embedding = layout.config.expert_width,
                  .rows = layout.table_rows,
                  .pins = layout.pins,
                  .more_pins = {}},
                 options),
      layout_(std::move(layout)),
      options_(options),
      dimensions_(tendon::dimensions(layout_.config)),
      checkpoint_(&checkpoint),
      pictures_(dimensions_, options_, options.batch * options.camera_counts.back()) {
  dimensions_.token_capacity = options_.token_buckets.back();
  const auto batch = static_cast<std::size_t>(options_.batch);
  host_positions_.resize(batch * static_cast<std::size_t>(layout_.rows));
  host_state_.resize(batch * static_cast<std::size_t>(dimensions_.state));
}

void VisionLanguageModel::add_buffers(Program& program) {
  const Dimensions& d = dimensions_;
  const std::int64_t batch = options_.batch;
  pictures_.add_buffers(program);
  prefix_.add_buffers(program);
  denoising_.add_buffers(program);
  positions_ = program.add({"positions", DType::i32, {batch, layout_.rows}});
  state_position_ = program.add({"state_position", DType::i32, {batch, 1}});
  state_ = program.add({"state", DType::f32, {batch, 1, d.state}});
}

Value VisionLanguageModel::patches(const nn::Recorder& r, int cameras) const {
  Trace& t = r.trace();
  const std::int64_t patch = layout_.config.patch, n = layout_.config.image / patch;
  const Value out = t.make(DType::f32, {cameras, n, n, patch * patch * 3});
  t.add(ops::SpaceToDepth{.x = pictures_.record(r, cameras), .block = patch, .out = out},
        r.name("patches"));
  return out;
}

void VisionLanguageModel::record_state(Trace&, const PrefixKey&) const {}

void VisionLanguageModel::record(Program& program) {
  add_buffers(program);
  Binder binder(*checkpoint_);
  bind(binder, program);
  binder.finish();
  const int cameras = options_.batch * options_.camera_counts.back();
  for (int n = 1; n <= cameras; ++n) {
    vision_.push_back(
        append(program, "vision." + std::to_string(n), [&](Trace& t) { record_vision(t, n); }));
  }
  denoising_.record_tables([&](int first, int count) {
    return append(program, "time." + std::to_string(first),
                  [&](Trace& t) { record_time(t, first, count); });
  });
  for (int count : options_.camera_counts) {
    for (int tokens : options_.token_buckets) record_key(program, {count, tokens});
  }
}

void VisionLanguageModel::record_key(Program& program, const PrefixKey& key) {
  const std::string at = std::to_string(key.cameras) + "." + std::to_string(key.tokens);
  prefix_traces_.push_back(
      append(program, "prefix." + at, [&](Trace& t) { prefix_.record(t, key, prefix_stage()); }));
  if (layout_.state != Layout::State::none) {
    state_traces_.push_back(
        append(program, "state." + at, [&](Trace& t) { record_state(t, key); }));
  }
  step_.push_back(
      append(program, "step." + at, [&](Trace& t) { record_step(t, key, Pins::none); }));
  pinned_step_.push_back(
      append(program, "pinned_step." + at, [&](Trace& t) { record_step(t, key, Pins::clamped); }));
}

std::vector<Model::StageTrace> VisionLanguageModel::stages(int cameras, int tokens,
                                                           int steps) const {
  const std::size_t at = prefix_.rows().index({cameras, tokens});
  const auto pictures = static_cast<std::size_t>(cameras * options_.batch);
  std::vector<StageTrace> all;
  if (pictures > 0) all.push_back({"vision", vision_[pictures - 1], 1});
  all.push_back({"prefix", prefix_traces_[at], 1});
  if (!state_traces_.empty()) all.push_back({"denoise", state_traces_[at], 1});
  all.push_back({"denoise", step_[at], steps});
  return all;
}

void VisionLanguageModel::schedule(int steps, StageRunner& runner) noexcept {
  evaluations_ = fill_schedule(steps);
  denoising_.write_tables(evaluations_, runner);
  scheduled_steps_ = runner.status().ok() ? steps : 0;
}

Status VisionLanguageModel::prepare(int steps, StageRunner& runner) noexcept {
  runner.begin();
  if (steps < 1 || steps > options_.max_steps) return Status("steps are outside [1, max_steps]");
  schedule(steps, runner);
  return runner.status();
}

// The suffix continues each sample's valid rows.
void VisionLanguageModel::write_suffix(const ModelInput& input, StageRunner& runner) noexcept {
  const std::span<const std::int32_t> valid = prefix_.rows().valid();
  const auto rows = static_cast<std::size_t>(layout_.rows);
  const auto width = static_cast<std::size_t>(dimensions_.state);
  for (std::size_t b = 0; b < valid.size(); ++b) {
    const std::int32_t first = valid[b] + static_cast<std::int32_t>(layout_.first);
    for (std::size_t i = 0; i < rows; ++i) {
      host_positions_[b * rows + i] = first + static_cast<std::int32_t>(i);
    }
    if (!state_traces_.empty()) {
      std::copy_n(input.samples[b].state.begin(), width,
                  host_state_.begin() + static_cast<std::ptrdiff_t>(b * width));
    }
  }
  runner.write<std::int32_t>(positions_, host_positions_);
  runner.write<std::int32_t>(state_position_, valid);
  runner.write<float>(state_, host_state_);
}

Status VisionLanguageModel::run(const ModelInput& input, StageRunner& runner,
                                std::span<float> chunk) noexcept {
  runner.begin();
  PrefixKey key;
  if (const Status status = prefix_.rows().fit(input, key); !status.ok()) return status;
  if (const Status status = pictures_.check(input); !status.ok()) return status;
  if (const Status status = denoising_.check(input); !status.ok()) return status;
  if (scheduled_steps_ != input.steps) schedule(input.steps, runner);
  const std::size_t pictures = pictures_.write(input, runner);
  prefix_.rows().write(input, key, runner);
  write_suffix(input, runner);
  if (!input.pinned.empty()) denoising_.write_pins(input, evaluations_, {}, runner);
  const std::size_t at = prefix_.rows().index(key);
  if (layout_.state == Layout::State::alone) runner.run("denoise", state_traces_[at]);
  if (pictures > 0) runner.run("vision", vision_[pictures - 1]);
  runner.run("prefix", prefix_traces_[at]);
  if (layout_.state == Layout::State::after_prefix) runner.run("denoise", state_traces_[at]);
  const std::size_t step = input.pinned.empty() ? step_[at] : pinned_step_[at];
  denoising_.run(input, {step, evaluations_}, runner, [&] { schedule(input.steps, runner); });
  denoising_.read(input, runner, chunk);
  return runner.status();
}

}  // namespace tendon
