// What this machine can do at best, measured: what a stage's speed is compared with.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/cpu.h"

namespace tendon {

// Rates of one product with packed weights and nothing else, the better of our kernels and oneDNN.
struct ProductRate {
  double flops = 0;  // per second
  double bytes = 0;  // of weights, per second
};

struct Ceilings {
  int threads = 0;
  double stream_bytes = 0;                  // per second, pure reads of memory by all threads
  ProductRate large_f32, large_bf16;        // 532 rows
  ProductRate few_rows_f32, few_rows_bf16;  // 10 rows, weights streamed from memory
};

// Takes about two seconds and 512 MB. threads 0: all. Throws Error.
Ceilings measure_ceilings(int threads = 0);

// One Linear [rows, k] x [n, k] in format and activations of one type, repeated over `copies`
// matrices so that the weights come from memory where copies > 1. Median of `repetitions`.
struct ProductShape {
  std::int64_t rows = 0, n = 0, k = 0;
  int copies = 1;
};
ProductRate measure_product(const ProductShape& shape, DType dtype, const CpuOptions& options,
                            int threads = 0, int repetitions = 9);

// Whether oneDNN multiplies bf16 on this processor; elsewhere only our kernels do.
bool library_multiplies_bf16();

}  // namespace tendon
