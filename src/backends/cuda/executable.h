// A program on the device: its memory, and one captured graph a trace.
#pragma once

#include <memory>

#include "backends/cuda/cuda.h"
#include "backends/cuda/persistent.h"
#include "backends/cuda/planner.h"
#include "backends/cuda/side_stream.h"
#include "backends/cuda/staging.h"

namespace tendon::cuda {

class CudaExecutable final : public Executable {
 public:
  CudaExecutable(std::unique_ptr<Program> program, const Device& device, const CudaOptions& options,
                 const CompileOptions& compile);
  ~CudaExecutable() override;

  const Program& program() const override { return *program_; }
  MemoryReport memory() const override;
  Status write(BufferRef buffer, std::span<const std::byte> data,
               std::size_t offset) noexcept override;
  Status read(BufferRef buffer, std::span<std::byte> data, std::size_t offset) noexcept override;
  Status run(std::size_t trace, int first, int count) noexcept override;
  Status wait() noexcept override;
  std::vector<float> fetch(std::size_t trace, Value value) override;
  std::vector<StepTime> profile(std::size_t trace, int repetitions) override;

 private:
  struct Planned {
    const Trace* trace = nullptr;
    Memory memory;
    std::vector<std::size_t> offsets;
    std::vector<Planner::Planned> launches;
    GraphExec graph;
    bool iterates = false;
    bool aside = false;                    // runs on the side stream
    std::vector<char> clashes, touches;    // which traces, which buffers
    std::unique_ptr<PersistentStep> step;  // in place of the graph
  };

  void allocate();
  void find_independent(const std::vector<std::size_t>& arenas);
  void make_pool();
  void plan(std::size_t trace, const CompileOptions& compile);
  bool plan_persistent(std::size_t trace);
  void capture(Planned& planned);
  void choose();
  double seconds(Planned& planned);
  void set_scratch(std::size_t (*needed)(const Shared&));
  void set_iteration(int value) noexcept;
  cudaError_t launch(const Planned& planned, int first, int count) noexcept;
  cudaError_t join_for(BufferRef buffer) noexcept;
  Status checked(cudaError_t status, const char* what) const noexcept;
  Status outside(BufferRef buffer, std::size_t offset, std::size_t size) const noexcept;

  std::unique_ptr<Program> program_;
  Device device_;
  CudaOptions options_;
  Stream stream_;
  SideStream side_;
  WeightStore weights_;
  std::unique_ptr<GemmLibrary> gemms_;
  std::unique_ptr<PersistentPool> pool_;
  std::vector<DeviceMemory> buffers_, own_arenas_;
  DeviceMemory arena_, scratch_, side_arena_, side_scratch_, iteration_;
  Shared shared_, side_shared_;
  Staging staging_;
  std::vector<Planned> planned_;
};

}  // namespace tendon::cuda
