// Products in tile registers that read rows of bf16 where they lie: plain rows, and the windows of
// a convolution without unfolding them.
#pragma once

#include "backends/cpu/product.h"

namespace tendon::cpu {

class Tiles;

// Segments of rows at one distance. A row's K is `taps` runs at one distance, the lines of a
// window. Where lines of a picture follow each other, of every `pitch` rows only the first
// `columns` are rows of the result; the others lie across the end of a line.
struct TileRows {
  const std::byte* data = nullptr;
  std::int64_t segments = 1, segment_bytes = 0;
  std::int64_t rows = 0, row_bytes = 0;  // of a segment
  std::int64_t taps = 1, tap_bytes = 0;
  std::int64_t pitch = 0, columns = 0;
};

class TileProduct : public Step {
 public:
  // Only on a machine with tiles. Of spec.rows and .source nothing is used; spec.x is what `x` says
  // where that is rows of one view, else empty.
  TileProduct(Planner& planner, const TileRows& x, ProductSpec spec);
  const char* run(const Worker& worker) noexcept override;
  void touch(int thread, Footprint& f) const override;

 private:
  struct Task;
  struct Place;
  void plan_tasks();
  Task task(std::int64_t index) const;
  Range slice(std::int64_t index) const;
  void run_own_rows(const Worker& worker) noexcept;
  void run_task(const Task& task, const Task& next, Place at, Tiles& tiles) const noexcept;
  void compute(const Task& task, const PackedMatrix& w, const Place& at,
               Tiles& tiles) const noexcept;
  void finish(const Task& task, float* sums, float* up) const noexcept;

  TileRows x_;
  View plain_;
  PackedMatrix w_, up_;
  Epilogue epilogue_;
  const Kernels* kernels_;
  const RowPlacer* placer_;
  std::int64_t unit_ = 1;  // panels that a task has together
  std::int64_t block_rows_ = 0, task_rows_ = 0, task_groups_ = 0;
  std::int64_t task_sums_ = 0;  // of one matrix
  bool own_rows_ = false;       // a thread multiplies its share of the rows by all columns
  std::int64_t slices_ = 1;     // of the whole passes of a run
  Own<float> sums_;
  Tasks tasks_;
};

// Whether threads share the rows of one by themselves; with spec.placer they must not.
bool shares_own_rows(const Planner& planner, std::int64_t rows, std::int64_t weight_bytes);

// Whether such a product can take these weights and runs of K; runs alone.
bool tiles_suit(const Planner& planner, WeightRef weight, std::int64_t run);
bool tiles_suit_run(std::int64_t run);

}  // namespace tendon::cpu
