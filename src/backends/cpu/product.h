// The product that every weighted op ends in: rows of activations times packed weights, and what
// follows while a tile is in the cache.
#pragma once

#include <atomic>
#include <functional>

#include "backends/cpu/planner.h"

namespace tendon::cpu {

// out = residual + gate * act(x w^T + bias); with `up`: act(x w^T + bias) * (x up^T + up_bias).
struct Epilogue {
  const float *bias = nullptr, *up_bias = nullptr;
  Act act = Act::none;
  Table gate;
  View residual;
  View out;
};

// Where rows of x come from when they are no plain rows (a convolution's windows).
class RowSource {
 public:
  virtual ~RowSource() = default;
  // Rows [first, first + rows) into [K][group], see PackGroup.
  virtual void pack(std::int64_t first, std::int64_t rows, std::int64_t group,
                    float* out) const noexcept = 0;
};

struct ProductSpec {
  std::int64_t rows = 0;
  View x;                             // [rows, K], or
  std::unique_ptr<RowSource> source;  // instead of it
  PackedMatrix weight, up;            // up.n = 0: absent
  Epilogue epilogue;
};

class Product : public Step {
 public:
  Product(Planner& planner, ProductSpec spec);
  const char* run() noexcept override;

 private:
  struct Task;
  void plan_blocks();  // how rows and panels become tasks
  void pack(std::int64_t first, std::int64_t rows, Range groups, float* to) const noexcept;
  void pack_group(std::int64_t first, std::int64_t count, float* to) const noexcept;
  void run_block(std::int64_t first, std::int64_t rows) noexcept;
  void run_own_blocks() noexcept;
  void compute(const Task& task, float* tile) const noexcept;
  void multiply(const Task& task, const PackedMatrix& w, float* c) const noexcept;

  ProductSpec s_;
  const Kernels* kernels_;
  int threads_;
  std::int64_t group_, block_rows_, task_rows_, task_panels_;
  // How the kernels read x: where it lies, from fp32 rows a_row_ apart, or from packed groups.
  enum class Reads : std::uint8_t { in_place, rows, groups } reads_;
  std::int64_t a_row_ = 0;
  bool own_blocks_ = false;  // each thread packs rows for itself and multiplies them by all panels
  float* packed_ = nullptr;
  float* tiles_ = nullptr;
  std::int64_t tile_floats_ = 0;
  std::atomic<std::int64_t> next_{0};
};

struct RowPlace {
  std::int64_t row, column;
};

// The epilogue of a piece of a row of out: `c`, and `up` where the op is gated.
void finish_row(const Kernels& k, const Epilogue& e, const RowPlace& at, std::span<float> c,
                const float* up) noexcept;

}  // namespace tendon::cpu
