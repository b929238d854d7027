// x W^T, each sum in the order of k.
#pragma once

#include <algorithm>

#include "backends/reference/parallel.h"
#include "backends/reference/weights.h"

namespace tendon::reference {

inline constexpr std::int64_t kRowBlock = 4;

// sums[i][j] = sum over k of x[i][k] * panel[k][j], for `rows` <= kRowBlock rows of K inputs.
void multiply_panel(const float* x, std::int64_t rows, std::int64_t inputs, const float* panel,
                    float* sums);
void multiply_panel(const float* x, std::int64_t rows, std::int64_t inputs, const float* panel,
                    double* sums);

// Calls sink(row, first, count, sums) for outputs [first, first + count) of every row of x [rows,
// K].
template <class A, class Sink>
void product(const Matrix& w, const std::vector<float>& x, int threads, const Sink& sink) {
  const std::int64_t inputs = w.inputs();
  const std::int64_t rows = inputs > 0 ? static_cast<std::int64_t>(x.size()) / inputs : 0;
  parallel_for(threads, w.panels(), [&](std::int64_t p) {
    std::vector<float> scratch;
    const float* panel = w.panel(p, scratch);
    const std::int64_t first = p * Matrix::kPanel;
    const std::int64_t count = std::min(Matrix::kPanel, w.outputs() - first);
    A sums[kRowBlock * Matrix::kPanel];
    for (std::int64_t r = 0; r < rows; r += kRowBlock) {
      const std::int64_t here = std::min(kRowBlock, rows - r);
      multiply_panel(x.data() + r * inputs, here, inputs, panel, sums);
      for (std::int64_t i = 0; i < here; ++i) {
        sink(r + i, first, count, sums + i * Matrix::kPanel);
      }
    }
  });
}

}  // namespace tendon::reference
