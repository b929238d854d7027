// A program with its memory and its steps.
#pragma once

#include <memory>

#include "backends/reference/planner.h"

namespace tendon::reference {

class ReferenceExecutable final : public Executable {
 public:
  ReferenceExecutable(std::unique_ptr<Program> program, const ReferenceOptions& options,
                      const CompileOptions& compile);

  const Program& program() const override { return *program_; }
  MemoryReport memory() const override;
  Status write(BufferRef buffer, std::span<const std::byte> data,
               std::size_t offset) noexcept override;
  Status read(BufferRef buffer, std::span<std::byte> data, std::size_t offset) noexcept override;
  Status run(std::size_t trace, int first, int count) noexcept override;
  Status wait() noexcept override { return {}; }
  std::vector<float> fetch(std::size_t trace, Value value) override;
  std::vector<StepTime> profile(std::size_t trace, int repetitions) override;

 private:
  struct Planned {
    Trace trace;  // in basic ops
    std::vector<std::function<void()>> steps;
    bool fetchable(Value value) const;
  };
  // The bytes [offset, offset + size) of a buffer; null with `why` set where it has none such.
  std::byte* inside(BufferRef buffer, std::size_t offset, std::size_t size, Status& why);

  std::unique_ptr<Program> program_;
  ReferenceOptions options_;
  int threads_;
  WeightStore weights_;
  std::vector<std::vector<std::byte>> buffers_;
  std::vector<std::byte> arena_;
  std::int32_t iteration_ = 0;
  Memory memory_;
  std::vector<Planned> planned_;
};

}  // namespace tendon::reference
