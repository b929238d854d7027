// What the denoising loops of all families share: the running sample, tables with a row for each
// time step, and rows of the chunk that are decided already.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "models/model.h"
#include "nn/recorder.h"

namespace tendon {

class Denoising {
 public:
  struct Layout {
    std::int64_t horizon = 0, action = 0;  // H, A
    std::int64_t embedding = 0;            // width E of a time's embedding
    int rows = 0;                          // R of the tables
    PinRule pins = PinRule::clamped;       // the family's own way to hold decided rows
    std::span<const PinRule> more_pins;    // others that it knows
  };
  Denoising(const Layout& layout, const ModelOptions& options);

  // Recording. R rows are made by traces of kRows each; row `rows - 1` may stand for t = 0.
  static constexpr int kRows = 16;
  void add_buffers(Program& program);
  // record(first, count) appends the trace that makes rows [first, first + count) of a family's own
  // tables from times and embeddings.
  void record_tables(const std::function<std::size_t(int first, int count)>& record);
  Value embeddings(Trace& t, int first, int count) const;  // f32 [count, E]
  Value times(Trace& t) const { return t.buffer(times_); }
  Value deltas(Trace& t) const { return t.buffer(deltas_); }
  Value sample(Trace& t) const { return t.buffer(sample_); }  // f32 [B, H, A]
  // The sample before this step, kept for comparison; absent where no taps are recorded.
  Value snapshot(Trace& t) const;
  // Decided rows of the sample, as they are at this step.
  void pin(const nn::Recorder& r) const;
  // i32 [1, H]: for each action row the row of the time tables that holds its time.
  Value pinned_table_rows(const nn::Recorder& r) const;
  // x + v * delta of this step.
  void euler(const nn::Recorder& r, Value velocity) const;

  // A call.
  Status check(const ModelInput& input) const noexcept;
  struct Row {
    float &time, &delta;
    std::span<float> embedding;
  };
  Row row(std::size_t i) noexcept;
  // After rows [0, count) were filled in: writes all and makes the tables of these rows, and of the
  // last one.
  void write_tables(int count, StageRunner& runner) noexcept;
  // The decided rows of every step. Where they are noised, `sigmas` has each step's share of noise.
  void write_pins(const ModelInput& input, int count, std::span<const float> sigmas,
                  StageRunner& runner) noexcept;
  // `count` steps from the input's noise. `schedule` fills the tables again before each where the
  // program does not keep them.
  struct Loop {
    std::size_t step = 0;
    int count = 0;
  };
  template <class F>
  void run(const ModelInput& input, const Loop& loop, StageRunner& runner, F schedule) noexcept {
    runner.write<float>(sample_, input.noise);
    if (tabulated_) {
      runner.run("denoise", loop.step, 0, loop.count);
      return;
    }
    for (int i = 0; i < loop.count; ++i) {
      schedule();
      runner.run("denoise", loop.step, i, 1);
    }
  }
  // The chunk; decided rows come back to the bit.
  void read(const ModelInput& input, StageRunner& runner, std::span<float> chunk) const noexcept;

 private:
  Layout layout_;
  std::int64_t batch_;
  int max_steps_;
  bool tabulated_;
  std::vector<std::size_t> tables_;       // traces, by first row / kRows
  BufferRef sample_;                      // f32 [B, H, A]
  BufferRef embeddings_;                  // f32 [R, E]
  BufferRef times_, deltas_;              // f32 [R, 1]
  BufferRef pins_, pin_mask_, pin_rows_;  // f32 [R, B H A], i32 [B H], i32 [R, H]
  // Host copies of what a call writes, sized once.
  std::vector<float> host_embeddings_, host_times_, host_deltas_, host_pins_;
  std::vector<std::int32_t> host_mask_, host_rows_;
};

}  // namespace tendon
