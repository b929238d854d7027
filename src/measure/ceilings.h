// What a backend reaches at best on this machine: the limits that measured ops are compared with.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/backend.h"

namespace tendon::measure {

// Sizes; the defaults suit models of a few billion parameters on any machine of today.
struct CeilingOptions {
  DType working = DType::bf16;                             // f32 or bf16
  int threads = 0;                                         // 0: all the machine offers
  std::int64_t wide_rows = 768;                            // of the products that are compute-bound
  std::vector<Shape> wide = {{4096, 2048}, {2048, 8192}};  // their weights [N, K]; the best counts
  std::int64_t thin_rows = 10;                         // of the products that only stream weights
  Shape thin = {4096, 1024};                           // [N, K]
  int thin_weights = 48;                               // different ones in turn, beyond any cache
  std::int64_t copy_elements = std::int64_t{1} << 26;  // f32
  double seconds = 0.5;                                // spent on each figure
};

// Best of its repetitions each: a ceiling, not an expectation.
struct Ceilings {
  double flops = 0;       // FLOP/s of wide products with packed weights
  double thin_flops = 0;  // FLOP/s of thin ones
  double stream = 0;      // B/s of weights through thin products
  double copy = 0;        // B/s of a large copy, read and written bytes together
  double bandwidth() const { return stream > copy ? stream : copy; }
};

// Throws Error where the backend refuses, and on a fault of its device.
Ceilings measure_ceilings(Backend& backend, const CeilingOptions& options);

}  // namespace tendon::measure
