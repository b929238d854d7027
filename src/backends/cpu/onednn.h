// Products by oneDNN: the only header that stands for it. 2.6 and 3.x serve alike.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backends/cpu/threads.h"
#include "base/dtype.h"

namespace tendon::cpu::onednn {

struct MatrixSpec {
  DType dtype = DType::f32;        // f32, bf16
  std::vector<std::int64_t> rows;  // of every product it is wanted for, descending
  std::int64_t n = 0, k = 0;
};

// Weights [N, K] in the layout that the library wants for the most rows of spec.rows that all
// others of spec.rows accept too (plain where they agree on none), in blocks of outputs: as many as
// threads can share evenly, and so narrow that a block's result stays in a thread's cache for what
// follows.
class Matrix {
 public:
  Matrix();
  Matrix(Matrix&&) noexcept;
  Matrix& operator=(Matrix&&) noexcept;
  ~Matrix();
  std::size_t bytes() const;

 private:
  friend Matrix pack(const MatrixSpec& spec, const std::byte* plain, Team& team);
  friend class Product;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// `plain`: [N, K] in spec.dtype, needed no longer than the call; the team is that of the products.
// Throws Error.
Matrix pack(const MatrixSpec& spec, const std::byte* plain, Team& team);

// y = x w^T for x [rows, K] of the matrix' type with rows `x_row` elements apart. The matrix
// outlives it. Throws Error.
class Product {
 public:
  Product(const Matrix& matrix, std::int64_t rows);
  Product(Product&&) noexcept;
  ~Product();
  std::size_t scratch_bytes() const;
  int blocks() const;
  std::int64_t columns(int block) const;  // the first is the widest
  std::int64_t first_column(int block) const;

  // y[rows, columns(block)] f32, by the calling thread alone. False where the library failed. One
  // thread at a time for each block.
  bool run(int block, const void* x, float* y, void* scratch) const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Whether this library multiplies bf16 on this processor.
bool multiplies_bf16();

// "oneDNN 2.6.3"
std::string version();

}  // namespace tendon::cpu::onednn
