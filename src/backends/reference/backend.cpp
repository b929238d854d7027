#include <fmt/core.h>

#include "backends/reference/executable.h"

namespace tendon {
namespace {

class ReferenceBackend final : public Backend {
 public:
  explicit ReferenceBackend(const ReferenceOptions& options) : options_(options) {}

  std::string_view name() const override { return "reference"; }
  std::string description() const override {
    return fmt::format("reference, sums in {}",
                       options_.accumulate == Accumulate::f64 ? "fp64" : "fp32");
  }
  std::unique_ptr<Executable> compile(std::unique_ptr<Program> program,
                                      const CompileOptions& options) override {
    return std::make_unique<reference::ReferenceExecutable>(std::move(program), options_, options);
  }

 private:
  ReferenceOptions options_;
};

}  // namespace

std::unique_ptr<Backend> make_reference(const ReferenceOptions& options) {
  return std::make_unique<ReferenceBackend>(options);
}

}  // namespace tendon
