// Turns the ops of a trace into steps. Planned twice: first with null addresses, to learn which
// weights and how much scratch are wanted, then for good.
#pragma once

#include <memory>
#include <vector>

#include "backends/cpu/cpu.h"
#include "backends/cpu/footprint.h"
#include "backends/cpu/kernels.h"
#include "backends/cpu/weights.h"
#include "base/error.h"
#include "ops/arena.h"

namespace tendon::cpu {

// One planned op. run() does a worker's part of a phase and returns null, or what was wrong with
// the data ("ids: below 0"); who found nothing wrong has done its part. A phase begins when all
// workers have ended the one before.
class Step {
 public:
  virtual ~Step() = default;
  virtual int phases() const { return 1; }
  virtual const char* run(const Worker& worker) noexcept = 0;
  // What worker `thread` touches; left as it is where that is not known, or phases are several.
  virtual void touch(int /*thread*/, Footprint& /*footprint*/) const {}

 protected:
  int threads_ = 1;  // that have a part in it
};

// A RowTable with addresses.
struct Table {
  const float* data = nullptr;
  std::int64_t stride = 0, count = 0, per_row = 1;
  const std::int32_t* rows = nullptr;
  explicit operator bool() const { return data != nullptr; }
  const float* row(std::int64_t r) const { return rows ? data + rows[r / per_row] * stride : data; }
  // Whether what rows [first, end) ask for exists.
  bool in_range(Range of) const;
};

// Memory of one use that each thread has for itself.
template <class T>
struct Own {
  T* first = nullptr;
  std::size_t bytes_apart = 0;
  T* of(int thread) const {
    return reinterpret_cast<T*>(reinterpret_cast<std::byte*>(first) +
                                static_cast<std::size_t>(thread) * bytes_apart);
  }
};

// Where the values of one trace lie.
struct Addresses {
  ArenaPlan arena;
  std::byte *intermediates = nullptr, *scratch = nullptr;
  std::byte* own = nullptr;   // scratch of the first thread; those of others follow
  std::size_t own_bytes = 0;  // of each
  std::vector<std::byte*> buffers;
  const std::int32_t* iteration = nullptr;
};

struct Machine {
  const Kernels* kernels = nullptr;
  Team* team = nullptr;
  CpuProducts products = CpuProducts::automatic;
  bool library_bf16 = false;  // oneDNN multiplies bf16 here
  bool tiles = false;         // so do our kernels, in AMX registers
};

class Planner {
 public:
  Planner(const Trace& trace, const Machine& machine, Weights& weights, Addresses addresses);

  const Trace& trace() const { return trace_; }
  const Kernels& kernels() const { return *machine_.kernels; }
  // For every op of this trace: all of the team, or 1 where the whole trace is not worth starting
  // the others.
  int threads() const { return threads_; }
  const Machine& machine() const { return machine_; }
  Weights& weights() { return weights_; }

  View view(Value v) const;  // empty for an absent value
  Table table(const RowTable& t, std::int64_t rows) const;
  const std::int32_t* integers(Value v) const;  // null for an absent one; dense is demanded

  // Scratch of the op being planned, shared by its threads; contents are lost between steps.
  std::byte* scratch(std::size_t bytes);
  template <class T>
  T* scratch_of(std::int64_t count) {
    return reinterpret_cast<T*>(scratch(static_cast<std::size_t>(count) * sizeof(T)));
  }

  // Scratch of each thread, which no other touches.
  template <class T>
  Own<T> own_of(std::int64_t count) {
    return {reinterpret_cast<T*>(own(static_cast<std::size_t>(count) * sizeof(T))),
            addresses_.own_bytes};
  }

  void add(std::unique_ptr<Step> step) { steps_.push_back(std::move(step)); }

  // Every op in order; then the steps, one for each op.
  std::vector<std::unique_ptr<Step>> plan_all();
  std::size_t scratch_bytes() const { return scratch_bytes_; }
  std::size_t own_bytes() const { return own_most_; }

 private:
  std::byte* own(std::size_t bytes);

  const Trace& trace_;
  const Machine& machine_;
  Weights& weights_;
  Addresses addresses_;
  int threads_ = 1;
  std::size_t scratch_used_ = 0, scratch_bytes_ = 0, own_used_ = 0, own_most_ = 0;
  std::vector<std::unique_ptr<Step>> steps_;
};

void plan(Planner& planner, const ops::Linear& op);
void plan(Planner& planner, const ops::GatedLinear& op);
void plan(Planner& planner, const ops::Conv2d& op);
void plan(Planner& planner, const ops::Attention& op);
void plan(Planner& planner, const ops::RmsNorm& op);
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

}  // namespace tendon::cpu
