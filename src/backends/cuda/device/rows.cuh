// Operands as device code sees them: rows of equal width, tables of rows.
#pragma once

#include <cuda_runtime.h>
#include <stdint.h>

#include "base/dtype.h"

namespace tendon::cuda::device {

// Row r of `rows` rows a batch starts at element (r / rows) * batch_stride + (r % rows) *
// row_stride.
struct RowsView {
  void* data = nullptr;
  DType dtype = DType::f32;
  int count = 0, width = 0, rows = 1;
  int64_t batch_stride = 0, row_stride = 0;

  __host__ __device__ int64_t offset(int r) const {
    return rows == count ? r * row_stride : (r / rows) * batch_stride + (r % rows) * row_stride;
  }
  // The same where all rows lie at one distance: no division, a tenth of the code.
  __device__ int64_t at(int r) const { return r * row_stride; }
  bool even() const { return !data || rows == count; }
};

// The row of a table that serves row r of an operand; data null: absent.
struct TableView {
  const float* data = nullptr;  // column already added
  const int32_t* index = nullptr;
  int stride = 0, rows = 1;  // elements between table rows; operand rows that share one index

  __device__ const float* row(int r) const {
    return data + (index ? static_cast<int64_t>(index[r / rows]) * stride : 0);
  }
};

// A strided tensor of up to six dimensions, last fastest.
struct Strided {
  void* data = nullptr;
  DType dtype = DType::f32;
  int64_t stride[6] = {};
};

struct Extents {
  int rank = 0;
  int64_t extent[6] = {};
};

}  // namespace tendon::cuda::device
