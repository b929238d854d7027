// The LingBot-VLA model: its weights, buffers and traces, and the host side of a call.
#pragma once

#include <vector>

#include "models/lingbot_vla/lingbot_vla.h"
#include "models/prefix_rows.h"
#include "nn/recorder.h"

namespace tendon::lingbot_vla {

struct Layer {  // of the vision tower or a text stack
  nn::Norm norm1, norm2;
  nn::Qkv qkv, kv;  // kv: k | v alone, for the last prefix layer
  nn::Linear out;
  nn::GatedMlp mlp;
};

struct Weights {
  nn::Linear patch;
  std::vector<Layer> vision, prefix, expert;
  nn::Norm merger_norm, expert_final;
  nn::Linear merger1, merger2;
  WeightRef tokens;
  nn::Linear state, action_out, mix_action_in, mix_action, mix_time, mix_out;
  std::vector<nn::Linear> conditions;  // gamma, beta of each expert norm in order
};

Weights bind(const Config& config, const ModelOptions& options, Checkpoint& checkpoint,
             Program& program);

struct Buffers {
  BufferRef images;                      // f32 [V, Y, X, 3]
  BufferRef window_order, raster_order;  // i32 [V * N], [V * N / 4]
  BufferRef vision_positions;            // i32 [V * N]: row of a camera in window order
  BufferRef vision_cos, vision_sin;      // f32 [N, Dh / 2]
  BufferRef cos, sin;                    // f32 [positions, Dh / 2]
  std::vector<BufferRef> k, v;           // a layer: [B, P, Hk, Dh]
  BufferRef positions;                   // i32 [B, S]
  BufferRef state;                       // f32 [B, state]
  BufferRef suffix;                      // working [B, S, De]; row 0 is the state's, all call long
  BufferRef time, times, deltas;         // f32 [R, De], [R, 1], [R, 1]
  BufferRef conditions;                  // f32 [R, layers * 4 * De]
  BufferRef mixed_time;                  // f32 [R, De]
  BufferRef x, pinned, pin_mask;         // f32 [B, H, A] twice, i32 [B * H]
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
  static constexpr int kTimeRows = 16;  // rows of the time tables made by one trace

  int table_rows() const { return options_.max_steps + options_.max_steps / 16 + 2; }
  void add_buffers(Program& program);
  std::size_t record_vision(Program& program, int cameras);
  std::size_t record_prefix(Program& program, const PrefixKey& key);
  std::size_t record_state(Program& program);
  std::size_t record_time(Program& program, int first);
  std::size_t record_step(Program& program, const PrefixKey& key, Pins pins);
  Value vision_block(const nn::Recorder& r, Value x, std::size_t i, int cameras) const;
  Value prefix_layer(const nn::Recorder& r, Value x, std::size_t i, const PrefixKey& key) const;
  Value expert_layer(const nn::Recorder& r, Value x, std::size_t i, const PrefixKey& key) const;
  nn::Modulation condition(Trace& t, std::size_t norm) const;

  void schedule(int steps, StageRunner& runner) noexcept;
  void write_vision(const ModelInput& input, StageRunner& runner) noexcept;
  void write_suffix(const ModelInput& input, StageRunner& runner) noexcept;
  bool write_pins(const ModelInput& input, StageRunner& runner) noexcept;

  Config config_;
  ModelOptions options_;
  Checkpoint* checkpoint_;
  PrefixRows prefix_rows_;
  Weights weights_;
  Buffers buffers_;
  std::vector<std::size_t> vision_, time_, prefix_, step_, pinned_step_;
  std::size_t state_ = 0;
  DType key_type_;  // of queries and keys: the original keeps them in fp32

  int scheduled_steps_ = 0, evaluations_ = 0;
  std::vector<std::int32_t> positions_, pin_mask_;
  std::vector<float> embeddings_, times_, deltas_, pinned_, state_values_;
};

}  // namespace tendon::lingbot_vla
