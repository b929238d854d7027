#include "backends/reference/product.h"

namespace tendon::reference {
namespace {

template <class A, int Rows>
inline __attribute__((always_inline)) void multiply(const float* x, std::int64_t inputs,
                                                    const float* panel, A* sums) {
  constexpr int kPanel = Matrix::kPanel;
  A acc[Rows][kPanel] = {};
  for (std::int64_t k = 0; k < inputs; ++k) {
    for (int i = 0; i < Rows; ++i) {
      const A a = x[i * inputs + k];
      for (int j = 0; j < kPanel; ++j) acc[i][j] += a * static_cast<A>(panel[k * kPanel + j]);
    }
  }
  for (int i = 0; i < Rows; ++i) {
    for (int j = 0; j < kPanel; ++j) sums[i * kPanel + j] = acc[i][j];
  }
}

template <class A>
inline __attribute__((always_inline)) void multiply_rows(const float* x, std::int64_t rows,
                                                         std::int64_t inputs, const float* panel,
                                                         A* sums) {
  if (rows == kRowBlock) return multiply<A, kRowBlock>(x, inputs, panel, sums);
  for (std::int64_t i = 0; i < rows; ++i) {
    multiply<A, 1>(x + i * inputs, inputs, panel, sums + i * Matrix::kPanel);
  }
}

}  // namespace

__attribute__((target_clones("avx2", "default"))) void multiply_panel(
    const float* x, std::int64_t rows, std::int64_t inputs, const float* panel, float* sums) {
  multiply_rows(x, rows, inputs, panel, sums);
}

__attribute__((target_clones("avx2", "default"))) void multiply_panel(
    const float* x, std::int64_t rows, std::int64_t inputs, const float* panel, double* sums) {
  multiply_rows(x, rows, inputs, panel, sums);
}

}  // namespace tendon::reference
