// What this machine can do at best, measured: what a stage's speed is compared with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "backends/cpu/cpu.h"
#include "backends/cpu/memory.h"
#include "base/team.h"

namespace tendon {

// Rates of one product with packed weights and nothing else.
struct ProductRate {
  double flops = 0;  // per second
  double bytes = 0;  // of weights, per second
};

// One Linear [rows, k] x [n, k] in format and activations of one type, repeated over `copies`
// matrices so that the weights come from memory where copies > 1.
struct ProductShape {
  std::int64_t rows = 0, n = 0, k = 0;
  int copies = 1;
};

// One product, packed once and timed again and again. threads 0: all. Throws Error.
class ProductMeter {
 public:
  ProductMeter(const ProductShape& shape, DType dtype, const CpuOptions& options, int threads = 0);
  // One run that does not count, then at least one and as many as fit into `seconds`: their mean.
  void sample(double seconds);
  ProductRate median() const;  // of the samples

 private:
  double flops_ = 0, bytes_ = 0;  // of a run
  std::unique_ptr<Executable> executable_;
  std::vector<double> seconds_;
};

// Pure reads of memory by all threads: the faster of asking 8 KB ahead and not asking.
class StreamMeter {
 public:
  StreamMeter(std::size_t bytes, int threads);
  void sample(double seconds);  // half of it for each way
  double median() const;        // bytes per second

 private:
  double read(std::int64_t ahead, double seconds);

  cpu::Memory memory_;
  Team team_;
  std::vector<std::uint64_t> sums_;
  std::vector<double> plain_, asked_;  // seconds of a pass
};

struct Ceilings {
  double stream_bytes = 0;      // per second
  ProductRate large, few_rows;  // many rows; 10 rows, weights streamed from memory
  std::size_t samples = 0;
};

// What is measured, and how long each rate takes of a sample.
struct CeilingShapes {
  ProductShape large{532, 4096, 2048, 1}, few_rows{10, 4096, 2048, 8};
  std::size_t stream = 0;  // bytes; 0: 256 MB, or twice the last-level cache where that is more
  double seconds = 0.03;
};

// The ceilings of one dtype, a sample at a time, so that they can be measured in turns with what is
// held against them. A product's is that of the better of our kernels and oneDNN, by their medians.
// Holds 0.4 to 0.9 GB. threads 0: all. Throws Error.
class CeilingMeter {
 public:
  CeilingMeter(DType dtype, int threads = 0, const CeilingShapes& shapes = {});
  void sample();
  Ceilings median() const;  // of at least one sample

 private:
  double seconds_;
  std::size_t samples_ = 0;
  StreamMeter stream_;
  std::vector<ProductMeter> large_, few_rows_;  // ours, oneDNN's
};

// Whether oneDNN multiplies bf16 on this processor; elsewhere only our kernels do.
bool library_multiplies_bf16();

}  // namespace tendon
