// The seam: a Backend compiles a Program into an Executable, which runs it.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ops/trace.h"
#include "tendon/error.h"

namespace tendon {

struct CompileOptions {
  int threads = 0;  // 0: all the machine offers
  // Called on the compiling thread: what is being done, and how far it is, in [0, 1].
  std::function<void(std::string_view what, double done)> progress;
};

struct MemoryReport {
  std::size_t weights = 0, buffers = 0, arena = 0;  // bytes
};

// A compiled Program. One thread at a time. Everything after compile() is noexcept and allocates
// nothing of ours.
class Executable {
 public:
  virtual ~Executable() = default;

  virtual const Program& program() const = 0;
  virtual MemoryReport memory() const = 0;

  // Copies host bytes into a buffer, or out of it, from byte `offset` on. A backend may defer the
  // copy until run(); `data` may be reused when write() returns. read() waits for all runs before
  // it.
  virtual Status write(BufferRef buffer, std::span<const std::byte> data,
                       std::size_t offset = 0) noexcept = 0;
  virtual Status read(BufferRef buffer, std::span<std::byte> data,
                      std::size_t offset = 0) noexcept = 0;

  // Runs a trace `count` times with iteration() = first, first + 1, ...
  virtual Status run(std::size_t trace, int first = 0, int count = 1) noexcept = 0;

  // Waits until everything asked for is done.
  virtual Status wait() noexcept = 0;

  // A value of the trace's latest run as dense fp32 (integers converted). Only values that are
  // tapped in a program that records taps, and buffers. Not for the warm path.
  virtual std::vector<float> fetch(std::size_t trace, Value value) = 0;

  // Seconds of each planned step of a trace, median over repetitions. Not for the warm path.
  struct StepTime {
    std::string op, label;
    double seconds = 0;
    Cost cost;
  };
  virtual std::vector<StepTime> profile(std::size_t trace, int repetitions) = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;    // "reference", "cpu", "cuda"
  virtual std::string description() const = 0;  // device, instruction set, threads
  // Plans every trace, packs the weights, allocates, writes and drops Program::initial. Throws
  // Error.
  virtual std::unique_ptr<Executable> compile(std::unique_ptr<Program> program,
                                              const CompileOptions& options) = 0;
};

}  // namespace tendon
