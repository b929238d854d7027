#include "backends/reference/executable.h"

#include <fmt/core.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/error.h"
#include "base/median.h"
#include "ops/arena.h"

namespace tendon::reference {
namespace {

// Ops that run as their definitions; every other must have a plan().
template <class T>
constexpr bool kFused = std::is_same_v<T, ops::GatedLinear> || std::is_same_v<T, ops::QkvRope>;

bool is_basic(const Op& op) {
  return std::visit([](const auto& x) { return !kFused<std::decay_t<decltype(x)>>; }, op);
}

void plan_op(Planner& planner, const Op& op) {
  planner.begin(op);
  std::visit(
      [&](const auto& x) {
        if constexpr (!kFused<std::decay_t<decltype(x)>>) plan(planner, x);
      },
      op);
}

int threads_of(const ReferenceOptions& options, const CompileOptions& compile) {
  if (compile.threads > 0) return compile.threads;
  return options.threads > 0 ? options.threads : omp_get_max_threads();
}

std::size_t bytes_of(const BufferSpec& spec) {
  return static_cast<std::size_t>(spec.shape.numel()) * size_of(spec.dtype);
}

}  // namespace

ReferenceExecutable::ReferenceExecutable(std::unique_ptr<Program> program,
                                         const ReferenceOptions& options,
                                         const CompileOptions& compile)
    : program_(std::move(program)),
      options_(options),
      threads_(threads_of(options, compile)),
      weights_(*program_, options.cache_bytes, threads_) {
  for (const BufferSpec& spec : program_->buffers) {
    memory_.buffers.push_back(buffers_.emplace_back(bytes_of(spec)).data());
  }
  for (const auto& [buffer, bytes] : program_->initial) {
    const Status done = write(buffer, bytes, 0);
    require(done.ok(), "{}", done.message());
  }
  program_->initial.clear();
  std::size_t arena = 0;
  for (const Trace& trace : program_->traces) {
    planned_.push_back({trace.lowered(is_basic), {}});
    arena = std::max(arena, plan_arena(planned_.back().trace).bytes);
  }
  arena_.resize(arena);
  memory_.arena = arena_.data();
  memory_.iteration = &iteration_;
  for (std::size_t i = 0; i < planned_.size(); ++i) {
    const Trace& trace = planned_[i].trace;
    Planner planner(trace, memory_, weights_, options_.accumulate, threads_);
    for (std::size_t at = 0; at < trace.ops().size(); ++at) {
      if (compile.progress) {
        const double part = static_cast<double>(at) / static_cast<double>(trace.ops().size());
        compile.progress(trace.label(at),
                         (static_cast<double>(i) + part) / static_cast<double>(planned_.size()));
      }
      plan_op(planner, trace.ops()[at]);
    }
    planned_[i].steps = planner.take_steps();
  }
  weights_.release();
}

MemoryReport ReferenceExecutable::memory() const {
  MemoryReport report{.weights = weights_.bytes(), .arena = arena_.size()};
  for (const auto& buffer : buffers_) report.buffers += buffer.size();
  return report;
}

std::byte* ReferenceExecutable::inside(BufferRef buffer, std::size_t offset, std::size_t size,
                                       Status& why) {
  const std::size_t id = static_cast<std::size_t>(buffer.id);
  if (buffer.id < 0 || id >= buffers_.size()) {
    why = Status("reference: no such buffer");
    return nullptr;
  }
  if (offset > buffers_[id].size() || size > buffers_[id].size() - offset) {
    why = Status(fmt::format("buffer {}: {} bytes at {} of {}", program_->buffers[id].name, size,
                             offset, buffers_[id].size()));
    return nullptr;
  }
  return buffers_[id].data() + offset;
}

Status ReferenceExecutable::write(BufferRef buffer, std::span<const std::byte> data,
                                  std::size_t offset) noexcept {
  Status why;
  std::byte* to = inside(buffer, offset, data.size(), why);
  if (to && !data.empty()) std::memcpy(to, data.data(), data.size());
  return why;
}

Status ReferenceExecutable::read(BufferRef buffer, std::span<std::byte> data,
                                 std::size_t offset) noexcept {
  Status why;
  const std::byte* from = inside(buffer, offset, data.size(), why);
  if (from && !data.empty()) std::memcpy(data.data(), from, data.size());
  return why;
}

Status ReferenceExecutable::run(std::size_t trace, int first, int count) noexcept {
  if (trace >= planned_.size()) return Status("reference: no such trace");
  const Planned& planned = planned_[trace];
  for (int i = first; i < first + count; ++i) {
    iteration_ = i;
    for (std::size_t at = 0; at < planned.steps.size(); ++at) {
      try {
        planned.steps[at]();
      } catch (const std::exception& e) {
        return Status(
            fmt::format("{}: {}: {}", planned.trace.name(), planned.trace.label(at), e.what()));
      }
    }
  }
  return {};
}

bool ReferenceExecutable::Planned::fetchable(Value value) const {
  const ValueInfo& info = trace.info(value);
  if (info.kind != ValueInfo::Kind::intermediate) return true;
  return std::any_of(trace.taps().begin(), trace.taps().end(), [&](const Trace::Tap& tap) {
    return trace.info(tap.value).root == info.root;
  });
}

std::vector<float> ReferenceExecutable::fetch(std::size_t trace, Value value) {
  const Planned& planned = planned_.at(trace);
  require(planned.fetchable(value), "{}: value {} is neither tapped nor a buffer",
          planned.trace.name(), value.id);
  const View view =
      Planner(planned.trace, memory_, weights_, options_.accumulate, threads_).view(value);
  std::vector<float> dense(static_cast<std::size_t>(view.shape.numel()));
  for (std::int64_t r = 0; r < view.rows(); ++r) {
    view.load(r, 0, view.width(), dense.data() + r * view.width());
  }
  return dense;
}

std::vector<Executable::StepTime> ReferenceExecutable::profile(std::size_t trace, int repetitions) {
  using Clock = std::chrono::steady_clock;
  const Planned& planned = planned_.at(trace);
  std::vector<std::vector<double>> seconds(planned.steps.size());
  for (int i = 0; i < std::max(1, repetitions); ++i) {
    for (std::size_t at = 0; at < planned.steps.size(); ++at) {
      const Clock::time_point start = Clock::now();
      planned.steps[at]();
      seconds[at].push_back(std::chrono::duration<double>(Clock::now() - start).count());
    }
  }
  std::vector<StepTime> times;
  for (std::size_t at = 0; at < planned.steps.size(); ++at) {
    const Op& op = planned.trace.ops()[at];
    times.push_back({std::string(name(op)), planned.trace.label(at), median(seconds[at]),
                     cost(op, planned.trace)});
  }
  return times;
}

}  // namespace tendon::reference
