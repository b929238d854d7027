// The pi0.5 / pi0 model: its weights, buffers and traces, and the host side of a call.
#pragma once

#include <vector>

#include "models/denoising.h"
#include "models/pi05/pi05.h"
#include "models/prefix_stack.h"
#include "nn/recorder.h"

namespace tendon::pi05 {

struct VisionLayer {
  nn::Norm norm1, norm2;
  nn::Qkv qkv;  // joined
  nn::Linear out, fc1, fc2;
};

struct Weights {
  nn::Linear patch;
  WeightRef positions;  // [patches, Dv]
  std::vector<VisionLayer> vision;
  nn::Norm post;
  nn::Linear projector;
  WeightRef tokens;  // [vocab, Dp]
  std::vector<nn::DecoderLayer> prefix, expert;
  nn::Norm expert_final;
  nn::Linear action_in, action_out;
  // pi0.5: cond = silu(out(silu(in(e)))); one modulation [3 De, De] for each of 2 * layers + 1
  // norms.
  nn::Linear time_in, time_out;
  std::vector<nn::Linear> modulation;
  // pi0: state token; action-time MLP.
  nn::Linear state;
  nn::TimeMixer mix;
};

// Binds every weight the model reads; throws one Error that lists all that is wrong.
Weights bind(const Config& config, const ModelOptions& options, Checkpoint& checkpoint,
             Program& program);

// Buffers shared by the stages, besides those of the prefix and of the denoising. Letters: V
// cameras of a call.
struct Buffers {
  BufferRef images;                             // f32 [V, Y, X, 3]
  BufferRef patch_rows;                         // i32 [patches], 0 1 2 ..: the position rows
  BufferRef state_positions, action_positions;  // i32 [B, 1], [B, H]
  std::vector<BufferRef> state_k, state_v;  // pi0, a layer: working [B, S, Hk, Dh], row 0 the state
  BufferRef state;                          // f32 [B, A]
  BufferRef modulation;  // f32 [R, (2 layers + 1) * 3 De]; row max_steps is t = 0
  BufferRef mixed_time;  // pi0: f32 [R, De], W_time e + bias
};

class Pi05Model final : public Model {
 public:
  Pi05Model(const Config& config, const ModelOptions& options, Checkpoint& checkpoint);

  void record(Program& program) override;
  Status prepare(int steps, StageRunner& runner) noexcept override;
  Status run(const ModelInput& input, StageRunner& runner,
             std::span<float> chunk) noexcept override;
  Dimensions dimensions() const override;
  const ModelOptions& options() const override { return options_; }
  std::vector<StageTrace> stages(int cameras, int tokens, int steps) const override;

 private:
  enum class Pins : std::uint8_t { none, clamped };

  // Recording (stages.cpp).
  void add_buffers(Program& program);
  std::size_t record_vision(Program& program, int cameras);
  std::size_t record_prefix(Program& program, const PrefixKey& key) const;
  std::size_t record_state(Program& program, const PrefixKey& key);
  std::size_t record_time(Program& program, int first, int count);
  std::size_t record_step(Program& program, const PrefixKey& key, Pins pins);
  struct StepContext;
  Value expert_layer(const nn::Recorder& r, Value x, std::size_t layer, const StepContext& c);
  Value suffix(const nn::Recorder& r, const StepContext& c);
  nn::Modulation modulation(const nn::Recorder& r, std::size_t norm, const StepContext& c) const;

  // A call (model.cpp).
  void schedule(int steps, StageRunner& runner) noexcept;
  void write_vision(const ModelInput& input, StageRunner& runner) noexcept;
  void write_suffix(const ModelInput& input, const PrefixKey& key, StageRunner& runner) noexcept;

  Config config_;
  ModelOptions options_;
  Checkpoint* checkpoint_;
  PrefixStack prefix_;
  Denoising denoising_;
  Weights weights_;
  Buffers buffers_;
  std::vector<std::size_t> vision_;  // traces by number of cameras of a call, minus 1
  std::vector<std::size_t> prefix_traces_, state_, step_, pinned_step_;  // by PrefixRows::index

  int scheduled_steps_ = 0;
  std::vector<std::int32_t> positions_;  // what a call writes, sized once
  std::vector<float> state_values_;
};

}  // namespace tendon::pi05
