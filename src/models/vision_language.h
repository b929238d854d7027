// Policies that read [pictures | prompt] once and denoise with an action expert that attends to it:
// what they share of a model, which is the order of stages and the host's side of a call.
#pragma once

#include <string>
#include <vector>

#include "models/denoising.h"
#include "models/family.h"
#include "models/prefix_stack.h"
#include "models/published.h"

namespace tendon {

class VisionLanguageModel : public Model {
 public:
  void record(Program& program) final;
  Status prepare(int steps, StageRunner& runner) noexcept final;
  Status run(const ModelInput& input, StageRunner& runner, std::span<float> chunk) noexcept final;
  Dimensions dimensions() const final { return layout_.dimensions; }
  const ModelOptions& options() const final { return options_; }
  std::vector<StageTrace> stages(int cameras, int tokens, int steps) const final;

 protected:
  struct Layout {
    Dimensions dimensions;
    std::int64_t image_rows = 0;                                     // of one camera
    std::int64_t width = 0, layers = 0, kv_heads = 0, head_dim = 0;  // of the prefix
    std::vector<float> frequencies;                                  // of its rotation
    DType key_type = DType::bf16;                                    // of keys and values
    std::int64_t time_width = 0;                                     // of a time's embedding
    int table_rows = 0;                                              // R of the time tables
    PinRule pins = PinRule::clamped;
    std::int64_t rows = 0;   // S of the expert in a step
    std::int64_t first = 0;  // rows between the prefix and them
    // The stage that makes the state's rows, which are the same in every step.
    enum class State : std::uint8_t { none, alone, after_prefix } state = State::none;
  };
  VisionLanguageModel(Layout layout, const ModelOptions& options);

  // What a family records. Letters: V cameras of a call, B batch, P prefix rows.
  virtual void bind(Program& program) = 0;  // its weights, and buffers besides those here
  virtual void record_vision(Trace& t, int cameras) const = 0;  // to prefix_.rows().image_tokens
  virtual PrefixStack::Stage prefix_stage() const = 0;
  virtual void record_time(Trace& t, int first, int count) const = 0;  // see record_tables
  virtual void record_state(Trace& t, const PrefixKey& key) const;     // does nothing
  enum class Pins : std::uint8_t { none, clamped };
  virtual void record_step(Trace& t, const PrefixKey& key, Pins pins) const = 0;
  // Fills the rows of the time tables; the number of evaluations.
  virtual int fill_schedule(int steps) noexcept = 0;

  // Pixels of each patch of the pictures, [V, y, x, patch * patch * 3] with the channel last.
  Value patches(const nn::Recorder& r, int cameras, std::int64_t patch) const;
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
  BufferRef images_;  // f32 [V, Y, X, 3]
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
void describe_vision_language(Family& family, std::string_view schedule, std::string_view pinned);

// The dimensions that a family's own words give such a model.
struct PictureDimensions {
  std::int64_t image = 0, cameras = 0, tokens = 0, horizon = 0, action = 0, state = 0;
};
Model::Dimensions model_dimensions(const PictureDimensions& d);

}  // namespace tendon
