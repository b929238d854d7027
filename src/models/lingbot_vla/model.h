// The LingBot-VLA model: its weights, buffers and traces, and the host side of a call.
#pragma once

#include <vector>

#include "models/denoising.h"
#include "models/lingbot_vla/lingbot_vla.h"
#include "models/prefix_stack.h"

namespace tendon::lingbot_vla {

struct Weights {
  nn::Linear patch;
  std::vector<nn::DecoderLayer> vision, prefix, expert;
  nn::Norm merger_norm, expert_final;
  nn::Linear merger1, merger2;
  WeightRef tokens;
  nn::Linear state, action_in, action_out;
  nn::TimeMixer mix;
  std::vector<nn::Linear> conditions;  // gamma, beta of each expert norm in order
};

Weights bind(const Config& config, const ModelOptions& options, Checkpoint& checkpoint,
             Program& program);

// Besides those of the prefix and of the denoising. Letters: V cameras of a call, N patches of one.
struct Buffers {
  BufferRef images;                      // f32 [V, Y, X, 3]
  BufferRef window_order, raster_order;  // i32 [V * N], [V * N / 4]
  BufferRef vision_positions;            // i32 [V * N]: row of a camera in window order
  BufferRef vision_cos, vision_sin;      // f32 [N, Dh / 2]
  BufferRef positions;                   // i32 [B, S]
  BufferRef state;                       // f32 [B, state]
  BufferRef suffix;                      // working [B, S, De]; row 0 is the state's, all call long
  BufferRef conditions;                  // f32 [R, layers * 4 * De]
  BufferRef mixed_time;                  // f32 [R, De]
};

class LingBotModel final : public Model {
 public:
  LingBotModel(const Config& config, const ModelOptions& options, Checkpoint& checkpoint);

  void record(Program& program) override;
  Status prepare(int steps, StageRunner& runner) noexcept override;
  Status run(const ModelInput& input, StageRunner& runner,
             std::span<float> chunk) noexcept override;
  Dimensions dimensions() const override;
  const ModelOptions& options() const override { return options_; }
  std::vector<StageTrace> stages(int cameras, int tokens, int steps) const override;

 private:
  enum class Pins : std::uint8_t { none, clamped };

  void add_buffers(Program& program);
  std::size_t record_vision(Program& program, int cameras);
  std::size_t record_prefix(Program& program, const PrefixKey& key) const;
  std::size_t record_state(Program& program);
  std::size_t record_time(Program& program, int first, int count);
  std::size_t record_step(Program& program, const PrefixKey& key, Pins pins);
  Value vision_block(const nn::Recorder& r, Value x, std::size_t i, int cameras) const;
  Value expert_layer(const nn::Recorder& r, Value x, std::size_t i, const PrefixKey& key) const;
  nn::Modulation condition(Trace& t, std::size_t norm) const;

  void schedule(int steps, StageRunner& runner) noexcept;
  void write_vision(const ModelInput& input, StageRunner& runner) noexcept;
  void write_suffix(const ModelInput& input, StageRunner& runner) noexcept;

  Config config_;
  ModelOptions options_;
  Checkpoint* checkpoint_;
  DType key_type_;  // of queries and keys: the original keeps them in fp32
  int table_rows_;  // the loop at bf16 times may take more steps than were asked for
  PrefixStack prefix_;
  Denoising denoising_;
  Weights weights_;
  Buffers buffers_;
  std::vector<std::size_t> vision_, prefix_traces_, step_, pinned_step_;
  std::size_t state_ = 0;

  int scheduled_steps_ = 0, evaluations_ = 0;
  std::vector<std::int32_t> positions_;  // what a call writes, sized once
  std::vector<float> times_, state_values_;
};

}  // namespace tendon::lingbot_vla
