#include "backends/cpu/executable.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/error.h"

namespace tendon::cpu {
namespace {

using Clock = std::chrono::steady_clock;

struct PlannedTrace {
  Trace trace;
  Addresses addresses;
  std::vector<std::unique_ptr<Step>> steps;
};

// Stands for memory that is not allocated yet; never read.
std::byte* const kNowhere = reinterpret_cast<std::byte*>(4096);

std::size_t aligned(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

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
  CpuExecutable(std::unique_ptr<Program> program, const Machine& machine)
      : program_(std::move(program)),
        machine_(machine),
        weights_(*program_, *machine.kernels, machine.threads) {}

  void compile(const CompileOptions& options) {
    for (const Trace& t : program_->traces) {
      Trace lowered = t.lowered([](const Op& op) {
        return std::visit(
            []<class T>(const T&) {
              return requires(Planner & p, const T& x) { plan(p, x); };
            },
            op);
      });
      ArenaPlan arena = plan_arena(lowered);
      arena_bytes_ = std::max(arena_bytes_, arena.bytes);
      traces_.push_back({std::move(lowered), {.arena = std::move(arena)}, {}});
    }
    plan_traces();  // learns which weights are wanted,
    weights_.pack(options.progress);
    plan_traces();  // how much scratch the packed ones want,
    allocate();
    plan_traces();  // and the addresses
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
    for (int i = first; i < first + count; ++i) {
      iteration_ = i;
      for (std::size_t s = 0; s < t.steps.size(); ++s) {
        const char* trouble = t.steps[s]->run();
        if (trouble) return failure(t.trace.label(s), trouble);
      }
    }
    return {};
  }

  Status wait() noexcept override { return {}; }

  std::vector<float> fetch(std::size_t trace, Value value) override;
  std::vector<StepTime> profile(std::size_t trace, int repetitions) override;

 private:
  void plan_traces() {
    for (PlannedTrace& t : traces_) {
      Addresses& a = t.addresses;
      a.intermediates = arena_.data() ? arena_.data() : kNowhere;
      a.scratch = a.intermediates + aligned(arena_bytes_);
      a.iteration = &iteration_;
      a.buffers.clear();
      for (std::size_t offset : buffer_offsets()) {
        a.buffers.push_back((buffers_.data() ? buffers_.data() : kNowhere) + offset);
      }
      Planner planner(t.trace, machine_, weights_, a);
      t.steps = planner.plan_all();
      scratch_bytes_ = std::max(scratch_bytes_, planner.scratch_bytes());
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
    arena_ = Memory(aligned(arena_bytes_) + scratch_bytes_ + 256);
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
  Machine machine_;
  Weights weights_;
  std::vector<PlannedTrace> traces_;
  Memory arena_, buffers_;
  std::vector<std::size_t> offsets_;
  std::size_t arena_bytes_ = 0, scratch_bytes_ = 0, buffer_bytes_ = 0;
  std::int32_t iteration_ = 0;
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
  for (int r = 0; r < std::max(1, repetitions); ++r) {
    for (std::size_t s = 0; s < t.steps.size(); ++s) {
      const Clock::time_point start = Clock::now();
      const char* trouble = t.steps[s]->run();
      seconds[s].push_back(std::chrono::duration<double>(Clock::now() - start).count());
      require(!trouble, "{}: {}", t.trace.label(s), trouble ? trouble : "");
    }
  }
  std::vector<StepTime> times;
  for (std::size_t s = 0; s < t.steps.size(); ++s) {
    std::vector<double>& all = seconds[s];
    std::nth_element(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2),
                     all.end());
    const Op& op = t.trace.ops()[s];
    times.push_back(
        {std::string(tendon::name(op)), t.trace.label(s), all[all.size() / 2], cost(op, t.trace)});
  }
  return times;
}

}  // namespace

std::unique_ptr<Executable> compile(std::unique_ptr<Program> program, const Machine& machine,
                                    const CompileOptions& options) {
  auto executable = std::make_unique<CpuExecutable>(std::move(program), machine);
  executable->compile(options);
  return executable;
}

}  // namespace tendon::cpu
