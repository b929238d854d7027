#include "backends/cpu/executable.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/error.h"
#include "base/median.h"
#include "base/parallel.h"

namespace tendon::cpu {
namespace {

using Clock = std::chrono::steady_clock;

struct PlannedTrace {
  Trace trace;
  Addresses addresses;
  std::vector<std::unique_ptr<Step>> steps;
  // Phases of steps that a worker does without waiting for others.
  struct Act {
    std::size_t step;
    int phase;
  };
  std::vector<std::vector<Act>> stages;
  bool alone = false;  // the caller does all of it
};

// The first op of a run that found trouble, by any thread.
class FirstTrouble {
 public:
  void clear() { step_.store(kNone, std::memory_order_relaxed); }
  void report(std::size_t step, const char* what) {
    const std::lock_guard lock(mutex_);
    if (step >= step_.load(std::memory_order_relaxed)) return;
    step_.store(step, std::memory_order_relaxed);
    what_ = what;
  }
  const char* what() const {
    return step_.load(std::memory_order_relaxed) == kNone ? nullptr : what_;
  }
  std::size_t step() const { return step_.load(std::memory_order_relaxed); }

 private:
  static constexpr std::size_t kNone = ~std::size_t{0};
  std::mutex mutex_;
  std::atomic<std::size_t> step_{kNone};
  const char* what_ = nullptr;
};

// Stands for memory that is not allocated yet; never read.
std::byte* const kNowhere = reinterpret_cast<std::byte*>(4096);

// Of a picture and more, not of a prompt.
constexpr std::size_t kLongWrite = 1 << 15;

std::size_t aligned(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

// Small values are apart from those of a layer before, so that no thread waits only because another
// reads what lay there; together they fill a fraction of L2.
constexpr std::size_t kRest = 12, kSmallArena = 1 << 20;

ArenaPlan addresses_for(const Trace& trace) {
  ArenaPlan apart = plan_arena(trace, kRest);
  return apart.bytes <= kSmallArena ? apart : plan_arena(trace);
}

// "label: trouble" without allocating.
Status failure(std::string_view label, std::string_view trouble) noexcept {
  char text[Status::kCapacity];
  std::size_t n = label.copy(text, sizeof text);
  n += std::string_view(": ").copy(text + n, sizeof text - n);
  n += trouble.copy(text + n, sizeof text - n);
  return Status(std::string_view(text, n));
}

class CpuExecutable : public Executable {
 public:
  CpuExecutable(std::unique_ptr<Program> program, const Machine& machine, int threads)
      : program_(std::move(program)),
        team_(threads),
        machine_(machine),
        weights_(*program_, *machine.kernels, team_) {
    machine_.team = &team_;
  }

  void compile(const CompileOptions& options) {
    for (const Trace& t : program_->traces) {
      Trace lowered = t.lowered([](const Op& op) {
        return std::visit(
            []<class T>(const T&) {
              return requires(Planner & p, const T& x) { plan(p, x); };
            },
            op);
      });
      ArenaPlan arena = addresses_for(lowered);
      arena_bytes_ = std::max(arena_bytes_, arena.bytes);
      traces_.push_back({std::move(lowered), {.arena = std::move(arena)}, {}, {}});
    }
    plan_traces();  // learns which weights are wanted and who works,
    const auto shared = [](const PlannedTrace& t) { return !t.alone; };
    if (std::any_of(traces_.begin(), traces_.end(), shared)) team_.start();
    weights_.pack(options.progress);
    plan_traces();  // how much scratch the packed ones want,
    allocate();
    plan_traces();  // and the addresses,
    for (PlannedTrace& t : traces_) plan_stages(t);
    for (const auto& [buffer, bytes] : program_->initial) {
      const Status written = write(buffer, bytes, 0);
      require(written.ok(), "{}", written.message());
    }
    program_->initial.clear();
  }

  const Program& program() const override { return *program_; }
  MemoryReport memory() const override {
    return {weights_.bytes(), buffers_.bytes(), arena_.bytes()};
  }

  Status write(BufferRef buffer, std::span<const std::byte> data,
               std::size_t offset) noexcept override {
    std::byte* to = place(buffer, data.size(), offset);
    if (!to) return Status("cpu: a write outside its buffer");
    if (data.size() >= kLongWrite) team_.rouse();  // a run follows: they are awake by then
    std::memcpy(to, data.data(), data.size());
    return {};
  }
  Status read(BufferRef buffer, std::span<std::byte> data, std::size_t offset) noexcept override {
    const std::byte* from = place(buffer, data.size(), offset);
    if (!from) return Status("cpu: a read outside its buffer");
    std::memcpy(data.data(), from, data.size());
    return {};
  }

  Status run(std::size_t trace, int first, int count) noexcept override {
    if (trace >= traces_.size()) return Status("cpu: no such trace");
    const PlannedTrace& t = traces_[trace];
    trouble_.clear();
    const auto stages = static_cast<int>(t.stages.size());
    const auto run_part = [&](int stage, int part) {
      run_stage(t, stage % stages, first + stage / stages, part);
    };
    if (t.alone) {
      for (int stage = 0; stage < stages * count; ++stage) run_part(stage, 0);
    } else {
      team_.run(stages * count, run_part);
    }
    if (trouble_.what()) return failure(t.trace.label(trouble_.step()), trouble_.what());
    return {};
  }

  Status wait() noexcept override { return {}; }

  std::vector<float> fetch(std::size_t trace, Value value) override;
  std::vector<StepTime> profile(std::size_t trace, int repetitions) override;

 private:
  // The first stage of an iteration has no acts: nobody is at work then.
  void run_stage(const PlannedTrace& t, int stage, int iteration, int part) noexcept {
    if (stage == 0) {
      if (part != 0) return;
      stopped_ = trouble_.what() != nullptr;
      if (!stopped_) iteration_ = iteration;
      return;
    }
    if (stopped_) return;
    for (const PlannedTrace::Act& act : t.stages[static_cast<std::size_t>(stage)]) {
      const char* trouble = t.steps[act.step]->run(Worker(part, act.phase));
      if (trouble) trouble_.report(act.step, trouble);
    }
  }
  void run_step(Step& step, std::size_t index, bool alone) noexcept {
    const auto run_part = [&](int phase, int part) {
      const char* trouble = step.run(Worker(part, phase));
      if (trouble) trouble_.report(index, trouble);
    };
    if (alone) {
      for (int phase = 0; phase < step.phases(); ++phase) run_part(phase, 0);
    } else {
      team_.run(step.phases(), run_part);
    }
  }
  void plan_stages(PlannedTrace& t) {
    Meetings meetings;
    t.stages.assign(2, {});
    for (std::size_t s = 0; s < t.steps.size(); ++s) {
      std::vector<Footprint> workers(static_cast<std::size_t>(t.alone ? 1 : team_.count()));
      for (std::size_t i = 0; i < workers.size(); ++i) {
        t.steps[s]->touch(static_cast<int>(i), workers[i]);
      }
      if (meetings.wanted_before(workers) && !t.alone) t.stages.emplace_back();
      for (int phase = 0; phase < t.steps[s]->phases(); ++phase) {
        if (phase > 0) t.stages.emplace_back();
        t.stages.back().push_back({s, phase});
      }
    }
  }
  void plan_traces() {
    for (PlannedTrace& t : traces_) {
      Addresses& a = t.addresses;
      a.intermediates = arena_.data() ? arena_.data() : kNowhere;
      a.own = a.intermediates + aligned(arena_bytes_);
      a.own_bytes = aligned(own_bytes_);
      a.scratch = a.own + a.own_bytes * static_cast<std::size_t>(team_.count());
      a.iteration = &iteration_;
      a.buffers.clear();
      for (std::size_t offset : buffer_offsets()) {
        a.buffers.push_back((buffers_.data() ? buffers_.data() : kNowhere) + offset);
      }
      Planner planner(t.trace, machine_, weights_, a);
      t.steps = planner.plan_all();
      t.alone = planner.threads() == 1;
      scratch_bytes_ = std::max(scratch_bytes_, planner.scratch_bytes());
      own_bytes_ = std::max(own_bytes_, planner.own_bytes());
    }
  }
  std::vector<std::size_t> buffer_offsets() {
    std::vector<std::size_t> offsets;
    std::size_t at = 0;
    for (const BufferSpec& b : program_->buffers) {
      offsets.push_back(at);
      at += aligned(static_cast<std::size_t>(b.shape.numel()) * size_of(b.dtype));
    }
    buffer_bytes_ = at;
    offsets_ = offsets;
    return offsets;
  }
  void allocate() {
    const auto threads = static_cast<std::size_t>(team_.count());
    arena_ = Memory(aligned(arena_bytes_) + aligned(own_bytes_) * threads + scratch_bytes_ + 256);
    buffers_ = Memory(buffer_bytes_ + 256);
  }
  std::byte* place(BufferRef ref, std::size_t bytes, std::size_t offset) const noexcept {
    const auto i = static_cast<std::size_t>(ref.id);
    if (ref.id < 0 || i >= offsets_.size()) return nullptr;
    const BufferSpec& b = program_->buffers[i];
    const std::size_t size = static_cast<std::size_t>(b.shape.numel()) * size_of(b.dtype);
    if (offset > size || bytes > size - offset) return nullptr;
    return buffers_.data() + offsets_[i] + offset;
  }

  std::unique_ptr<Program> program_;
  Team team_;
  Machine machine_;
  Weights weights_;
  std::vector<PlannedTrace> traces_;
  Memory arena_, buffers_;
  std::vector<std::size_t> offsets_;
  std::size_t arena_bytes_ = 0, own_bytes_ = 0, scratch_bytes_ = 0, buffer_bytes_ = 0;
  std::int32_t iteration_ = 0;
  FirstTrouble trouble_;
  bool stopped_ = false;  // by trouble in an iteration before
};

std::vector<float> CpuExecutable::fetch(std::size_t trace, Value value) {
  const PlannedTrace& t = traces_.at(trace);
  const ValueInfo& info = t.trace.info(value);
  const auto tapped = [&] {
    return std::any_of(t.trace.taps().begin(), t.trace.taps().end(), [&](const Trace::Tap& tap) {
      return t.trace.info(tap.value).root == info.root;
    });
  };
  require(info.kind != ValueInfo::Kind::intermediate || tapped(),
          "{}: only buffers and tapped values can be fetched", t.trace.name());
  Planner planner(t.trace, machine_, weights_, t.addresses);
  const View v = planner.view(value);
  std::vector<float> out(static_cast<std::size_t>(v.rows() * v.width()));
  for (std::int64_t r = 0; r < v.rows(); ++r) {
    float* to = out.data() + r * v.width();
    switch (info.dtype) {
      case DType::f32:
      case DType::bf16:
      case DType::f16:
        machine_.kernels->load(info.dtype, v.row(r), v.width(), to);
        break;
      case DType::i32:
        std::copy_n(reinterpret_cast<std::int32_t*>(v.row(r)), v.width(), to);
        break;
      case DType::u8:
      case DType::boolean:
        std::copy_n(reinterpret_cast<std::uint8_t*>(v.row(r)), v.width(), to);
        break;
      default:
        fail("{}: values of type {} cannot be fetched", t.trace.name(), name(info.dtype));
    }
  }
  return out;
}

std::vector<Executable::StepTime> CpuExecutable::profile(std::size_t trace, int repetitions) {
  PlannedTrace& t = traces_.at(trace);
  std::vector<std::vector<double>> seconds(t.steps.size());
  iteration_ = 0;
  trouble_.clear();
  for (int r = 0; r < std::max(1, repetitions); ++r) {
    for (std::size_t s = 0; s < t.steps.size(); ++s) {
      const Clock::time_point start = Clock::now();
      run_step(*t.steps[s], s, t.alone);
      seconds[s].push_back(std::chrono::duration<double>(Clock::now() - start).count());
      const char* trouble = trouble_.what();
      require(!trouble, "{}: {}", t.trace.label(s), trouble ? trouble : "");
    }
  }
  std::vector<StepTime> times;
  for (std::size_t s = 0; s < t.steps.size(); ++s) {
    const Op& op = t.trace.ops()[s];
    times.push_back(
        {std::string(tendon::name(op)), t.trace.label(s), median(seconds[s]), cost(op, t.trace)});
  }
  return times;
}

}  // namespace

std::unique_ptr<Executable> compile(std::unique_ptr<Program> program, const Machine& machine,
                                    const CompileOptions& options) {
  const int threads = options.threads > 0 ? options.threads : machine_threads();
  auto executable = std::make_unique<CpuExecutable>(std::move(program), machine, threads);
  executable->compile(options);
  return executable;
}

}  // namespace tendon::cpu
