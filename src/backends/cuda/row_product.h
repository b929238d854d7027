// Products of a few rows, where nothing but the weights' way from memory counts.
#pragma once

#include "backends/cuda/tiles.h"

namespace tendon::cuda {

// Of those that suits_tiles() accepts: up to 4 plain rows, no pairs.
bool suits_row_product(const TileProduct& product);
void launch_row_product(const TileProduct& product, cudaStream_t stream);

// Several of one shape in one launch: out[i] = x_i W_i^T, rows of n elements.
struct RowEntry {
  const void* x = nullptr;       // bf16 [rows, k]
  const void* weight = nullptr;  // bf16 [n, k]
  std::int64_t x_stride = 0;     // elements between rows
};
struct RowBatch {
  const RowEntry* entries = nullptr;  // on the device
  int count = 0, rows = 0, n = 0, k = 0;
  DType out = DType::bf16;
  int multiprocessors = 0;  // keep to so many; 0: all
};
bool suits_row_batch(const RowBatch& batch, const RowEntry& entry);
void launch_row_batch(const RowBatch& batch, void* out, cudaStream_t stream);

}  // namespace tendon::cuda
