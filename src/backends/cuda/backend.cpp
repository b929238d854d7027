#include <fmt/core.h>

#include "backends/cuda/executable.h"

namespace tendon {
namespace {

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const CudaOptions& options)
      : options_(options), device_(cuda::open_device(options.device)) {}

  std::string_view name() const override { return "cuda"; }
  std::string description() const override {
    const cudaDeviceProp& p = device_.properties;
    return fmt::format("{} (sm_{}{}, {} multiprocessors, {} MB), driver {}.{}, cublasLt {}", p.name,
                       p.major, p.minor, p.multiProcessorCount, p.totalGlobalMem >> 20,
                       device_.driver / 1000, device_.driver % 1000 / 10, cublasLtGetVersion());
  }
  std::unique_ptr<Executable> compile(std::unique_ptr<Program> program,
                                      const CompileOptions& options) override {
    return std::make_unique<cuda::CudaExecutable>(std::move(program), device_, options_, options);
  }

 private:
  CudaOptions options_;
  cuda::Device device_;
};

}  // namespace

std::unique_ptr<Backend> make_cuda(const CudaOptions& options) {
  return std::make_unique<CudaBackend>(options);
}

}  // namespace tendon
