// Products through cuBLASLt: the algorithm of each shape is measured once while planning,
// validated, and remembered in a file.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/choice.h"
#include "backends/cuda/context.h"
#include "base/dtype.h"

namespace tendon::cuda {

// out[b] = act(x[b] W^T + bias) + residual[b]; x [m, k], W [n, k] dense, out and residual [m, n]
// with row strides. bf16 or f32 inputs, fp32 accumulation (true fp32 for f32 inputs).
struct GemmShape {
  int m = 0, n = 0, k = 0, batches = 1;
  std::int64_t x_stride = 0, x_batch = 0, out_stride = 0, out_batch = 0;
  std::int64_t residual_stride = 0, residual_batch = 0;
  DType in = DType::bf16, out = DType::bf16;
  enum class Epilogue : std::uint8_t { none, bias, gelu_bias } epilogue = Epilogue::none;
  enum class Residual : std::uint8_t { none, added } residual = Residual::none;
  int alignment = 16;  // bytes, of all operands
  std::string str() const;
};

struct GemmOperands {
  const void* x = nullptr;
  const void* weight = nullptr;
  const void* bias = nullptr;  // in the dtype of out
  const void* residual = nullptr;
  void* out = nullptr;
};

class GemmLibrary;

class Gemm {
 public:
  // Throws Error where the library refuses.
  void run(const GemmOperands& operands, cudaStream_t stream) const;

 private:
  friend class GemmLibrary;
  Gemm(GemmLibrary& library, const GemmShape& shape);
  cublasStatus_t launch(const GemmOperands& o, const cublasLtMatmulAlgo_t& algorithm,
                        cudaStream_t stream) const;

  GemmLibrary* library_;
  GemmShape shape_;
  MatmulDesc description_;
  MatrixLayout a_, b_, c_, d_;
  cublasLtMatmulAlgo_t algorithm_{};
};

class GemmLibrary {
 public:
  // `cache` may be empty. Reads it where device and library versions agree. Products on `side` may
  // run beside those on any one other stream.
  GemmLibrary(const Device& device, std::filesystem::path cache, cudaStream_t side);

  // The gemm of a shape, measured with these weights where no earlier choice is known.
  const Gemm& get(const GemmShape& shape, const void* weight);
  // Seconds of one of a few launches in a row, as a captured trace runs them, with nothing in the
  // caches at first; launch i reads `Operands::weight(i)`. The best of a few runs; infinite where
  // a launch throws.
  double seconds(const std::function<void(cudaStream_t, int)>& launch);
  // What an earlier load chose; null where nothing is known.
  const std::string* recall(const std::string& key) const;
  // Other choices, kept in the same file.
  Choices& choices() { return choices_; }
  // Memory for measuring, filled with random numbers of a dtype: `bytes` and several weights, each
  // at a place of its own. Until the next call.
  struct Operands {
    std::byte* data = nullptr;
    std::byte* weights = nullptr;
    std::size_t weight_bytes = 0;
    int count = 1;
    const void* weight(int i) const {
      return weights + static_cast<std::size_t>(i % count) * weight_bytes;
    }
  };
  Operands operands(std::size_t bytes, std::size_t weight_bytes, DType dtype);
  // Whether the plain product of a shape, of operands in device memory, lies in `out`.
  bool holds(const GemmShape& shape, const void* x, const void* weight, const void* out);

  // When all choices are made, before anything is captured for good: gives memory back, keeping the
  // workspace that products want, and writes the cache where a choice is new, best effort.
  void save();
  std::size_t bytes() const { return workspace_.size() + side_workspace_.size(); }

 private:
  friend class Gemm;
  static constexpr std::size_t kWorkspace = 32u << 20;
  void* workspace(cudaStream_t stream) const;
  std::vector<cublasLtMatmulHeuristicResult_t> candidates(const Gemm& gemm) const;
  void choose(Gemm& gemm, const void* weight);
  void measure(Gemm& gemm, const void* weight);
  bool valid(const Gemm& gemm, const GemmOperands& o, const cublasLtMatmulAlgo_t& algorithm);
  std::string header() const;

  Device device_;
  std::filesystem::path cache_;
  BlasLt handle_;
  cudaStream_t side_;
  DeviceMemory workspace_, side_workspace_, scratch_, verdict_, flush_;
  Stream stream_;
  Event start_, stop_;
  std::map<std::string, std::unique_ptr<Gemm>> gemms_;
  std::map<std::string, std::string> known_;  // shape -> algorithm in hex, or another choice
  Choices choices_;
  std::size_t wanted_ = 256;  // bytes of workspace of the algorithms chosen
  bool fresh_ = false;        // something is known that the file does not have
};

}  // namespace tendon::cuda
