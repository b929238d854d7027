// Policies that read [pictures | prompt] once and denoise with an action expert that attends to it:
// what they share of a model, which is the order of stages and the host's side of a call.
#pragma once

#include <string>
#include <vector>

#include "models/denoising.h"
#include "models/family.h"
#include "models/pictures.h"
#include "models/prefix_stack.h"
#include "models/published.h"
#include "nn/bind.h"

namespace tendon {

// Dimensions that all such models have; families add their vision tower's.
struct VisionLanguageConfig {
  std::int64_t image = 224, patch = 14, cameras = 3;
  std::int64_t prefix_width = 0, prefix_mlp = 0, expert_width = 0, expert_mlp = 0;
  std::int64_t layers = 0, q_heads = 0, kv_heads = 0, head_dim = 0;  // of both stacks
  std::int64_t vocab = 0, prompt_len = 0, state_dim = 0, action_dim = 0, horizon = 0;
  nn::Bind::LayerStyle style = {};  // of both stacks

  nn::Bind::Stack prefix(nn::Bind::Stack::End end) const;
  nn::Bind::Stack expert() const;
};

// Their names in JSON. Where a checkpoint's shapes tell them: the weight of the patch embedding
// [D, 3, .., y, x], and what stands before the names of both stacks and of the products around.
struct VisionLanguageNames {
  std::string patch, prefix, expert, products;
};
std::vector<Dimension> dimensions_of(VisionLanguageConfig& config, const VisionLanguageNames& at);
Model::Dimensions dimensions(const VisionLanguageConfig& config);

class VisionLanguageModel : public Model {
 public:
  void record(Program& program) final;
  Status prepare(int steps, StageRunner& runner) noexcept final;
  Status run(const ModelInput& input, StageRunner& runner, std::span<float> chunk) noexcept final;
  Dimensions dimensions() const final { return dimensions_; }
  const ModelOptions& options() const final { return options_; }
  std::vector<StageTrace> stages(int cameras, int tokens, int steps) const final;

 protected:
  struct Layout {
    VisionLanguageConfig config;
    std::int64_t image_rows = 0;     // of one camera
    std::vector<float> frequencies;  // of the prefix's rotation
    DType key_type = DType::bf16;    // of keys and values
    int table_rows = 0;              // R of the time tables
    PinRule pins = PinRule::clamped;
    std::int64_t rows = 0;   // S of the expert in a step
    std::int64_t first = 0;  // rows between the prefix and them
    // The stage that makes the state's rows, which are the same in every step.
    enum class State : std::uint8_t { none, alone, after_prefix } state = State::none;
  };
  // The checkpoint outlives the model.
  VisionLanguageModel(Layout layout, const ModelOptions& options, const Checkpoint& checkpoint);

  // What a family records. Letters: V cameras of a call, B batch, P prefix rows.
  // Its weights, and buffers besides those here.
  virtual void bind(Binder& binder, Program& program) = 0;
  virtual void record_vision(Trace& t, int cameras) const = 0;  // to prefix_.rows().image_tokens
  virtual PrefixStack::Stage prefix_stage() const = 0;
  virtual void record_time(Trace& t, int first, int count) const = 0;  // see record_tables
  virtual void record_state(Trace& t, const PrefixKey& key) const;     // does nothing
  enum class Pins : std::uint8_t { none, clamped };
  virtual void record_step(Trace& t, const PrefixKey& key, Pins pins) const = 0;
  // Fills the rows of the time tables; the number of evaluations.
  virtual int fill_schedule(int steps) noexcept = 0;

  // Pixels of each patch of the pictures, [V, y, x, patch * patch * 3] with the channel last.
  Value patches(const nn::Recorder& r, int cameras) const;
  Value positions(Trace& t) const { return t.buffer(positions_); }            // i32 [B, S]
  Value state_position(Trace& t) const { return t.buffer(state_position_); }  // i32 [B, 1]
  Value state(Trace& t) const { return t.buffer(state_); }                    // f32 [B, 1, state]

  PrefixStack prefix_;
  Denoising denoising_;

 private:
  void add_buffers(Program& program);
  void record_key(Program& program, const PrefixKey& key);
  void schedule(int steps, StageRunner& runner) noexcept;
  void write_suffix(const ModelInput& input, StageRunner& runner) noexcept;

  Layout layout_;
  ModelOptions options_;
  Dimensions dimensions_;
  const Checkpoint* checkpoint_;
  Pictures pictures_;
  BufferRef positions_, state_position_, state_;
  std::vector<std::size_t> vision_;  // traces by number of cameras of a call, minus 1
  std::vector<std::size_t> prefix_traces_, state_traces_, step_, pinned_step_;  // by key

  int scheduled_steps_ = 0, evaluations_ = 0;
  std::vector<std::int32_t> host_positions_;  // what a call writes, sized once
  std::vector<float> host_state_;
};

inline constexpr std::string_view kClamped =
    "clamped: decided rows are clean at the time of each step";

// What every family of such models says of itself.
template <class M, auto kConfigFrom>
void describe_model(Family& family) {
  family.tensors = [](const nlohmann::json& dims) {
    return asked_tensors(DType::f32, [&](const ModelOptions& options, Binder& b, Program& p) {
      bind(kConfigFrom(dims), options, b, p);
    });
  };
  family.make = [](const nlohmann::json& dims, const ModelOptions& options,
                   Checkpoint& checkpoint) -> std::unique_ptr<Model> {
    return std::make_unique<M>(kConfigFrom(dims), options, checkpoint);
  };
  family.dimensions = [](const nlohmann::json& dims) { return dimensions(kConfigFrom(dims)); };
}
// Where the prefix of such a program may end.
nn::Bind::Stack::End prefix_end(const ModelOptions& options, const Program& program);
void describe_vision_language(Family& family, std::string_view schedule, std::string_view pinned);

}  // namespace tendon
