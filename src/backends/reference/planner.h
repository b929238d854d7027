// What planning an op needs, and the overload set that a missing op makes fail to compile.
#pragma once

#include <functional>
#include <vector>

#include "backends/reference/parallel.h"
#include "backends/reference/reference.h"
#include "backends/reference/view.h"
#include "backends/reference/weights.h"

namespace tendon::reference {

// Where a trace's values live.
struct Memory {
  std::byte* arena = nullptr;
  std::vector<std::byte*> buffers;
  std::int32_t* iteration = nullptr;
};

// A RowTable resolved for an output of `rows` rows.
struct Table {
  View table, index;
  std::int64_t column = 0, rows = 1;

  explicit operator bool() const { return static_cast<bool>(table); }
  // Columns [first, first + count) of the row that serves row r. Throws Error past the table's end.
  template <class A>
  void load(std::int64_t r, std::int64_t first, std::int64_t count, A* out) const {
    table.load(row(r), column + first, count, out);
  }

 private:
  std::int64_t row(std::int64_t r) const;
};

class Planner {
 public:
  Planner(const Trace& trace, const Memory& memory, WeightStore& weights, Accumulate accumulate,
          int threads);

  // Says which op the next plan() is of.
  void begin(const Op& op);
  // One for an op so small that threads would cost more than they save.
  int threads() const { return op_threads_; }
  View view(Value v) const;  // false where v is absent
  Table table(const RowTable& table, Value out) const;
  const Matrix& matrix(WeightRef ref) { return weights_->matrix(ref); }
  const Weight& in_place(WeightRef ref) { return weights_->in_place(ref); }
  const Weight& in_program(WeightRef ref) const { return trace_->program().weight(ref); }
  // Null where absent.
  const float* vector(WeightRef ref) { return ref ? weights_->vector(ref).data() : nullptr; }

  // What a run does: run(A{}), A being the accumulation type.
  template <class Run>
  void step(Run run) {
    if (accumulate_ == Accumulate::f64) {
      steps_.push_back([run] { run(double{}); });
    } else {
      steps_.push_back([run] { run(float{}); });
    }
  }
  std::vector<std::function<void()>> take_steps() { return std::move(steps_); }

 private:
  const Trace* trace_;
  const Memory* memory_;
  WeightStore* weights_;
  Accumulate accumulate_;
  int threads_, op_threads_ = 1;
  std::vector<std::size_t> offset_;
  std::vector<std::function<void()>> steps_;
};

void plan(Planner& planner, const ops::Linear& op);
void plan(Planner& planner, const ops::Conv2d& op);
void plan(Planner& planner, const ops::Attention& op);
void plan(Planner& planner, const ops::RmsNorm& op);
void plan(Planner& planner, const ops::LayerNorm& op);
void plan(Planner& planner, const ops::Rope& op);
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

}  // namespace tendon::reference
