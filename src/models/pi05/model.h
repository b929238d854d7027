// The pi0.5 / pi0 model: its weights, buffers and traces.
#pragma once

#include <vector>

#include "models/pi05/pi05.h"
#include "models/siglip/siglip.h"
#include "weights/scope.h"

namespace tendon::pi05 {

struct Weights {
  siglip::Weights vision;
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

Weights bind(const Config& config, const ModelOptions& options, Binder& binder, Program& program);

class Pi05Model final : public VisionLanguageModel {
 public:
  Pi05Model(const Config& config, const ModelOptions& options, const Checkpoint& checkpoint);

 private:
  void bind(Binder& binder, Program& program) override;
  void record_vision(Trace& t, int cameras) const override;
  PrefixStack::Stage prefix_stage() const override;
  void record_time(Trace& t, int first, int count) const override;
  void record_state(Trace& t, const PrefixKey& key) const override;
  void record_step(Trace& t, const PrefixKey& key, Pins pins) const override;
  int fill_schedule(int steps) noexcept override;

  // What the expert's layers need to know of the trace around them.
  struct StepContext {
    PrefixKey key;
    nn::Rotation rotation;
    Value table_rows;  // i32: row of the time tables for the step, or for each suffix row
    std::int64_t first = 0, count = 0;  // the suffix rows computed here
  };
  Value expert_layer(const nn::Recorder& r, Value x, std::size_t layer, const StepContext& c) const;
  nn::Modulation modulation(Trace& t, std::size_t norm, const StepContext& c) const;
  // Of a norm's columns, the first of scale, shift or gate.
  RowTable part(Trace& t, std::size_t norm, std::int64_t part, const StepContext& c) const;

  Config config_;
  Weights weights_;
  BufferRef patch_numbers_;  // i32 [patches], 0 1 2 ..
  BufferRef modulation_;     // f32 [R, (2 layers + 1) * 3 De]; row max_steps is t = 0
  BufferRef mixed_time_;     // pi0: f32 [R, De], W_time e + bias
  std::vector<BufferRef> state_k_,
      state_v_;  // pi0, a layer: working [B, S, Hk, Dh], row 0 the state
};

}  // namespace tendon::pi05
