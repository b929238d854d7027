#include "backends/cpu/cpu.h"

#include "backends/cpu/executable.h"
#include "backends/cpu/onednn.h"
#include "backends/cpu/tiles.h"
#include "base/parallel.h"

namespace tendon {
namespace {

class CpuBackend : public Backend {
 public:
  explicit CpuBackend(const CpuOptions& options)
      : options_(options), kernels_(cpu::kernels(cpu::detect(options.widest))) {}

  std::string_view name() const override { return "cpu"; }

  std::string description() const override {
    const char* bf16 = !native_bf16()   ? "fp32 products"
                       : cpu::has_amx() ? "AMX bf16"
                                        : "AVX-512 bf16";
    return fmt::format("{}, {}, {}, {} threads", cpu::processor(), cpu::name(kernels_.isa), bf16,
                       machine_threads());
  }

  std::unique_ptr<Executable> compile(std::unique_ptr<Program> program,
                                      const CompileOptions& options) override {
    cpu::Machine machine{&kernels_, nullptr, options_.products, native_bf16()};
    machine.tiles = options_.widest == cpu::Isa::avx512 && cpu::tiles_available();
    return cpu::compile(std::move(program), machine, options);
  }

 private:
  bool native_bf16() const {
    return options_.widest == cpu::Isa::avx512 && cpu::multiplies_bf16() &&
           cpu::onednn::multiplies_bf16();
  }

  CpuOptions options_;
  const cpu::Kernels& kernels_;
};

}  // namespace

std::unique_ptr<Backend> make_cpu(const CpuOptions& options) {
  return std::make_unique<CpuBackend>(options);
}

}  // namespace tendon
