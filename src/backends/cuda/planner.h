// Plans one trace: addresses for its values, device forms of its weights, a list of launches.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/device/curve.h"
#include "backends/cuda/device/rows.cuh"
#include "backends/cuda/gemm.h"
#include "backends/cuda/weights.h"
#include "ops/trace.h"

namespace tendon::cuda {

// Where a trace's values live. The arena may be shared with other traces.
struct Memory {
  std::byte* arena = nullptr;
  std::vector<std::byte*> buffers;
  std::int32_t* iteration = nullptr;
};

// Temporary memory of one op. Its address is known when launches run, not while they are planned.
struct Scratch {
  std::byte** base = nullptr;
  std::size_t offset = 0;
  void* get() const { return *base + offset; }
};

// Of the current op's temporary memory while these options are selected.
struct ScratchNeed {
  std::vector<std::pair<const Choice*, std::size_t>> where;
  std::size_t bytes = 0;
};

// What all traces of an executable share while they are planned.
struct Shared {
  Device device;
  WeightStore* weights = nullptr;
  GemmLibrary* gemms = nullptr;
  std::byte* scratch = nullptr;         // set before the first launch
  std::vector<ScratchNeed> needs;       // of temporary memory
  bool aside = false;                   // these traces run beside others
  std::vector<DeviceMemory> constants;  // small arrays that ops need beside their operands
};

// The most temporary memory that an op asked for: with any of its options, as they are selected.
std::size_t most_scratch(const Shared& shared);
std::size_t selected_scratch(const Shared& shared);

using Launch = std::function<void(cudaStream_t)>;

class Planner {
 public:
  // Any dtype; strides in elements.
  struct Operand {
    std::byte* data = nullptr;
    const ValueInfo* info = nullptr;
    explicit operator bool() const { return data != nullptr; }
  };

  Planner(const Trace& trace, const Memory& memory, std::vector<std::size_t> offsets,
          Shared& shared);

  const Trace& trace() const { return *trace_; }
  Shared& shared() const { return *shared_; }
  WeightStore& weights() const { return *shared_->weights; }

  Operand at(Value v) const;  // false where v is absent
  template <class T>
  T* data(Value v) const {
    return reinterpret_cast<T*>(at(v).data);
  }
  device::RowsView rows(Value v) const;
  device::Strided strided(Value v) const;
  device::Extents extents(Value v) const;
  // For an operand of `count` rows.
  device::TableView table(const RowTable& table, std::int64_t count) const;
  // A copy on the device that lives as long as the executable.
  const void* constant(const void* data, std::size_t bytes);

  // Temporary memory of the current op; several calls give several pieces.
  Scratch scratch(std::size_t bytes);
  void launch(Launch launch);
  // What `plan` launches, taken back: an option of a choice.
  std::vector<Launch> apart(const Choice& choice, std::size_t option,
                            const std::function<void()>& plan);

  // Says which op the next launches belong to.
  void begin(std::size_t op) { op_ = op, used_ = 0; }
  struct Planned {
    std::size_t op = 0;
    Launch launch;
  };
  std::vector<Planned> take() { return std::move(planned_); }

 private:
  const Trace* trace_;
  const Memory* memory_;
  std::vector<std::size_t> offsets_;
  Shared* shared_;
  std::size_t op_ = 0, used_ = 0;
  ScratchNeed need_;  // where: the options that are being planned
  std::vector<Planned> planned_;
};

// 8 where every operand's rows allow 16-byte accesses, else 1.
int vector_width(std::initializer_list<device::RowsView> views);
int vector_width(const device::TableView& table, int width);
device::Curve curve_of(Act act);
inline unsigned blocks(std::int64_t items, int per_block) {
  return static_cast<unsigned>((items + per_block - 1) / per_block);
}

void plan(Planner& planner, const ops::Linear& op);
void plan(Planner& planner, const ops::GatedLinear& op);
void plan(Planner& planner, const ops::Conv2d& op);
void plan(Planner& planner, const ops::Attention& op);
void plan(Planner& planner, const ops::RmsNorm& op);
// A norm and the activation right after it in one kernel; false where they cannot be.
bool plan_pair(Planner& planner, const ops::RmsNorm& op, const ops::Activation& after);
// The ops from `at` on that project few rows and need nothing of each other, in one go: how many
// there were, 0 where there are not at least two.
std::size_t plan_qkv_batch(Planner& planner, std::size_t at);
void plan(Planner& planner, const ops::LayerNorm& op);
void plan(Planner& planner, const ops::Rope& op);
void plan(Planner& planner, const ops::QkvRope& op);
void plan(Planner& planner, const ops::Embed& op);
void plan(Planner& planner, const ops::Activation& op);
void plan(Planner& planner, const ops::GatedAct& op);
void plan(Planner& planner, const ops::Add& op);
void plan(Planner& planner, const ops::Mul& op);
void plan(Planner& planner, const ops::Axpy& op);
void plan(Planner& planner, const ops::Select& op);
void plan(Planner& planner, const ops::GatherRows& op);
void plan(Planner& planner, const ops::Copy& op);
void plan(Planner& planner, const ops::SpaceToDepth& op);
void plan(Planner& planner, const ops::AveragePool& op);
void plan(Planner& planner, const ops::Resize& op);

}  // namespace tendon::cuda
