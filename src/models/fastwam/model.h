// The FastWAM policy: its weights, buffers and traces, and the host side of a call.
#pragma once

#include <array>
#include <vector>

#include "models/denoising.h"
#include "models/fastwam/fastwam.h"
#include "models/pictures.h"
#include "nn/recorder.h"

namespace tendon::fastwam {

// Weights of one block; k | v alone where only keys are wanted.
struct Block {
  nn::Qkv self, cross;  // cross: k | v of the context rows
  nn::Linear self_out, cross_q, cross_out, fc1, fc2;
  nn::Norm norm3, cross_norm_q;
};

struct Expert {
  std::int64_t width = 0;
  std::string name;
  nn::Linear text_in, text_out;
  std::vector<Block> blocks;
  std::vector<float> modulation;  // [layers * 6 * D]: shift, scale, gate of attention, then of FFN
};

struct Weights {
  wan_vae::Weights vae;
  nn::Linear patch;
  Expert video, action;
  nn::Linear action_in, action_out, state;
  nn::Linear time_in, time_out, time_projection;  // of the action expert
  // The video expert's time is always 0: tau [D] and its projection [6 D].
  std::vector<float> video_time, video_time_projection;
};

// Binds every weight the policy reads; throws one Error that lists all that is wrong.
Weights bind(const Config& config, const ModelOptions& options, const Checkpoint& checkpoint,
             Program& program);

// An expert's share of the context. Letters: L context rows that are computed: 0 the state, 1 all
// padding rows as one, 2 .. the text.
struct ContextBuffers {
  BufferRef rows;               // working [1, L, D] after the text MLP
  std::vector<BufferRef> k, v;  // a layer: working [1, L, H, Dh]
};

// Besides those of the denoising.
struct Buffers {
  BufferRef latent;          // working [1, y, x, 48]
  BufferRef context;         // f32 [1, L, Wt]; row 1 stays zero
  BufferRef context_length;  // i32 [1]
  BufferRef context_bias;    // f32 [1, L]
  BufferRef state;           // f32 [1, 1, P]
  ContextBuffers video, action;
  BufferRef video_modulation;                   // f32 [1, layers * 6 * D]
  BufferRef video_time, video_time_projection;  // f32 [1, D], [1, 6 D]; where taps are recorded
  BufferRef video_cos, video_sin, video_positions;
  BufferRef action_cos, action_sin, action_positions;
  std::vector<BufferRef> k, v;  // a layer: working [1, Sv, H, Dh]
  BufferRef layer_modulation;   // f32 [1, layers * 6 * Da]
  BufferRef modulation;         // f32 [R, layers * 6 * Da]; row max_steps is t = 0
};

class FastWamModel final : public Model {
 public:
  FastWamModel(const Config& config, const ModelOptions& options, const Checkpoint& checkpoint);

  void record(Program& program) override;
  Status prepare(int steps, StageRunner& runner) noexcept override;
  Status run(const ModelInput& input, StageRunner& runner,
             std::span<float> chunk) noexcept override;
  Dimensions dimensions() const override { return fastwam::dimensions(config_); }
  const ModelOptions& options() const override { return options_; }
  std::vector<StageTrace> stages(int cameras, int tokens, int steps) const override;

 private:
  // Recording (stages.cpp).
  void add_buffers(Program& program);
  void add_tables(Program& program);
  ContextBuffers add_context(Program& program, const Expert& expert) const;
  std::size_t record_vision(Program& program);
  std::size_t record_text(Program& program, std::int64_t rows);
  std::size_t record_state(Program& program);
  std::size_t record_time(Program& program, int first, int count);
  std::size_t record_prefix(Program& program, std::int64_t rows);
  std::size_t record_step(Program& program, std::int64_t rows, PinRule pins);
  // Context rows [first, first + count): text MLP, then every layer's keys and values.
  void context_rows(const nn::Recorder& r, const Expert& expert, const ContextBuffers& to,
                    std::pair<std::int64_t, std::int64_t> range) const;
  struct Stack;
  Value block(const nn::Recorder& r, Value x, std::size_t layer, const Stack& stack) const;

  // A call (model.cpp).
  Status validate(const ModelInput& input) const noexcept;
  void schedule(int steps, double shift, StageRunner& runner) noexcept;
  // Runs the text stage where the rows are not those of the last call; the bucket's number.
  std::size_t encode_context(const ModelSample& sample, StageRunner& runner) noexcept;

  Config config_;
  ModelOptions options_;
  const Checkpoint* checkpoint_;
  Denoising denoising_;
  Pictures pictures_;
  Weights weights_;
  Buffers buffers_;
  std::size_t vision_ = 0, state_ = 0;
  std::vector<std::size_t> text_, prefix_, step_, pinned_step_, conditioned_step_;  // by bucket

  int scheduled_steps_ = 0;
  double scheduled_shift_ = 0;
  std::size_t encoded_rows_ = 0;                // text rows whose keys lie in the buffers; 0: none
  std::vector<float> context_, bias_, sigmas_;  // what a call writes, sized once
};

// [cos(t f) | sin(t f)] with f from 1 down to nearly 1 / 10000; fp64 inside.
void sinusoid(double t, std::span<float> out) noexcept;

}  // namespace tendon::fastwam
