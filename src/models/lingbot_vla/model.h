// The LingBot-VLA model: its weights, buffers and traces.
#pragma once

#include <vector>

#include "models/lingbot_vla/lingbot_vla.h"
#include "weights/scope.h"

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

Weights bind(const Config& config, const ModelOptions& options, Binder& binder, Program& program);

class LingBotModel final : public VisionLanguageModel {
 public:
  LingBotModel(const Config& config, const ModelOptions& options, const Checkpoint& checkpoint);

 private:
  void bind(Binder& binder, Program& program) override;
  void add_vision_tables(Program& program);
  void record_vision(Trace& t, int cameras) const override;
  PrefixStack::Stage prefix_stage() const override;
  void record_time(Trace& t, int first, int count) const override;
  void record_state(Trace& t, const PrefixKey& key) const override;
  void record_step(Trace& t, const PrefixKey& key, Pins pins) const override;
  int fill_schedule(int steps) noexcept override;

  Value gather(Trace& t, Value rows, BufferRef order, const std::string& label) const;
  Value vision_block(const nn::Recorder& r, Value x, std::size_t i, int cameras) const;
  Value expert_layer(const nn::Recorder& r, Value x, std::size_t i, const PrefixKey& key) const;
  nn::Modulation condition(Trace& t, std::size_t norm) const;

  Config config_;
  Weights weights_;
  BufferRef window_order_, raster_order_;  // i32 [V * N], [V * N / 4]; N patches of a camera
  BufferRef vision_positions_;             // i32 [V * N]: row of a camera in window order
  BufferRef vision_cos_, vision_sin_;      // f32 [N, Dh / 2]
  BufferRef suffix_;      // working [B, S, De]; row 0 is the state's, all call long
  BufferRef conditions_;  // f32 [R, layers * 4 * De]
  BufferRef mixed_time_;  // f32 [R, De]
  std::vector<float> times_;
};

}  // namespace tendon::lingbot_vla
