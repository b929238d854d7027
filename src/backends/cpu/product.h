// The product that every weighted op ends in: rows of activations times packed weights, and what
// follows while a tile is in the cache.
#pragma once

#include "backends/cpu/planner.h"

namespace tendon::cpu {

// out = residual + gate * act(x w^T + bias); with `up`: act(x w^T + bias) * (x up^T + up_bias).
struct Epilogue {
  const float *bias = nullptr, *up_bias = nullptr;
  Act act = Act::none;
  Table gate;
  View residual;
  View out;
  void touch(Range rows, Footprint& f) const;
};

// Where rows of x come from when they are no plain rows (a convolution's windows).
class RowSource {
 public:
  virtual ~RowSource() = default;
  // Rows [first, first + rows) into [K][group], see PackGroup.
  virtual void pack(std::int64_t first, std::int64_t rows, std::int64_t group,
                    float* out) const noexcept = 0;
};

// Takes what a product made of a row instead of memory: bias added, in fp32, may be changed.
struct RowPlace {
  std::int64_t row, column;
};
class RowPlacer {
 public:
  virtual ~RowPlacer() = default;
  virtual void place(const RowPlace& at, std::span<float> row) const noexcept = 0;
};

struct ProductSpec {
  std::int64_t rows = 0;
  View x;                             // [rows, K], or
  std::unique_ptr<RowSource> source;  // instead of it
  PackedMatrix weight, up;            // up.n = 0: absent
  Epilogue epilogue;
  const RowPlacer* placer = nullptr;  // only of products in tiles; instead of epilogue.out
  std::int64_t unit = 1;              // columns that it takes together
};

class Product : public Step {
 public:
  Product(Planner& planner, ProductSpec spec);
  int phases() const override;
  const char* run(const Worker& worker) noexcept override;
  void touch(int thread, Footprint& f) const override;

 private:
  struct Task;
  void plan_blocks();  // how rows and panels become tasks
  void pack(std::int64_t first, std::int64_t rows, Range groups, float* to) const noexcept;
  void pack_group(std::int64_t first, std::int64_t count, float* to) const noexcept;
  bool packs_together() const;
  void run_phase(const Worker& worker) noexcept;
  void run_own_block(Range rows, int thread) noexcept;
  void compute(const Task& task, float* tile) const noexcept;
  void multiply(const Task& task, const PackedMatrix& w, float* c) const noexcept;

  ProductSpec s_;
  const Kernels* kernels_;
  std::int64_t group_, block_rows_, task_rows_, task_panels_;
  // How the kernels read x: where it lies, from fp32 rows a_row_ apart, or from packed groups.
  enum class Reads : std::uint8_t { in_place, rows, groups } reads_;
  std::int64_t a_row_ = 0;
  // together: threads pack rows for all and take tiles of the result. own_blocks: each packs a
  // block of rows for itself and multiplies it by all panels. own_rows: so too, but of its share of
  // the rows, so that it need wait for nobody.
  enum class Sharing : std::uint8_t { together, own_blocks, own_rows } sharing_ = {};
  float* packed_ = nullptr;
  Own<float> own_packed_, tiles_;
  Tasks tasks_;
};

// The epilogue of a piece of a row of out: `c`, and `up` where the op is gated.
void finish_row(const Kernels& k, const Epilogue& e, const RowPlace& at, std::span<const float> c,
                const float* up) noexcept;

}  // namespace tendon::cpu
