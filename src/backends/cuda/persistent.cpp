#include "backends/cuda/persistent.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "backends/cuda/persistent_builder.h"
#include "base/error.h"

namespace tendon::cuda {
namespace {

using namespace persistent;

constexpr int kMinorOfBulkCopies = 9;  // sm_90: bulk copies, clusters

// Intermediates one after the other; none shares memory, because a norm is computed by whoever
// reads it.
struct Layout {
  std::vector<std::size_t> offsets;
  std::size_t bytes = 0;
};

Layout lay_out(const Trace& trace) {
  Layout l;
  for (std::size_t i = 0; i < trace.values().size(); ++i) {
    const ValueInfo& v = trace.values()[i];
    l.offsets.push_back(l.bytes);
    if (v.kind != ValueInfo::Kind::intermediate || v.root != static_cast<std::int32_t>(i)) continue;
    l.bytes += (static_cast<std::size_t>(v.shape.numel()) * size_of(v.dtype) + 255) / 256 * 256;
  }
  return l;
}

// What the kernel has no phase for, in ops that it has.
Trace lowered(const Trace& trace) {
  return trace.lowered([](const Op& op) {
    const auto* q = std::get_if<ops::QkvRope>(&op);
    return !q || (!q->norm_q && !q->norm_k);
  });
}

// Packed weights of a list of products, shared by the steps that have the same list.
struct Streams {
  DeviceMemory data, first;
};

class Step final : public PersistentStep {
 public:
  Step(const Trace& trace, Layout layout, std::byte* arena)
      : trace_(&trace), layout_(std::move(layout)), arena_(arena) {}

  cudaError_t run(int first, int count, cudaStream_t stream) noexcept override {
    args.first = first, args.repetitions = count;
    args.barrier_base = barriers_;
    const cudaError_t status = launch_step(args, shape, stream);
    const std::uint32_t last = args.phases ? waits_first_ : 0;
    barriers_ += static_cast<std::uint32_t>(shape.ctas) *
                 (waits_ * static_cast<std::uint32_t>(count) - last);
    return status;
  }
  std::vector<Executable::StepTime> profile(int repetitions, cudaStream_t stream) override;
  const std::vector<std::size_t>& offsets() const override { return layout_.offsets; }
  std::byte* arena() const override { return arena_; }

  void finish(const StepPlan& plan, const Memory& memory);

  StepArgs args;
  StepShape shape;

 private:
  const Trace* trace_;
  Layout layout_;
  std::byte* arena_;
  DeviceMemory phases_, barrier_, clock_;
  std::vector<std::size_t> ops_;
  std::uint32_t barriers_ = 0, waits_ = 0, waits_first_ = 1;
};

void Step::finish(const StepPlan& plan, const Memory& memory) {
  ops_ = plan.ops;
  phases_ = DeviceMemory(plan.phases.size() * sizeof(Phase), "a step's phases");
  check(cudaMemcpy(phases_.data(), plan.phases.data(), phases_.size(), cudaMemcpyHostToDevice),
        "writing phases");
  barrier_ = DeviceMemory(256, "a step's barrier");
  clock_ = DeviceMemory((plan.phases.size() + 1) * sizeof(long long), "a step's clock");
  args.phases = reinterpret_cast<const Phase*>(phases_.data());
  args.count = static_cast<int>(plan.phases.size());
  args.iteration = memory.iteration;
  args.barrier = reinterpret_cast<std::uint32_t*>(barrier_.data());
  for (const Phase& p : plan.phases) waits_ += p.waits;
}

std::vector<Executable::StepTime> Step::profile(int repetitions, cudaStream_t stream) {
  const std::size_t n = static_cast<std::size_t>(args.count);
  std::vector<std::vector<double>> all(n);
  std::vector<long long> ticks(n + 1);
  int kilohertz = 0, device = 0;
  check(cudaGetDevice(&device), "profiling");
  check(cudaDeviceGetAttribute(&kilohertz, cudaDevAttrClockRate, device), "profiling");
  for (int r = 0; r < std::max(1, repetitions); ++r) {
    args.clock = reinterpret_cast<long long*>(clock_.data());
    const cudaError_t status = run(0, 2, stream);
    args.clock = nullptr;
    check(status, "profiling");
    check(cudaStreamSynchronize(stream), "profiling");
    check(cudaMemcpy(ticks.data(), clock_.data(), ticks.size() * sizeof(long long),
                     cudaMemcpyDeviceToHost),
          "profiling");
    for (std::size_t i = 0; i < n; ++i) {
      all[i].push_back(static_cast<double>(ticks[i + 1] - ticks[i]) / kilohertz * 1e-3);
    }
  }
  std::vector<Executable::StepTime> times;
  for (std::size_t i = 0; i < n; ++i) {
    std::nth_element(all[i].begin(), all[i].begin() + static_cast<long>(all[i].size() / 2),
                     all[i].end());
    const Op& op = trace_->ops()[ops_[i]];
    times.push_back({std::string(name(op)), trace_->label(ops_[i]), all[i][all[i].size() / 2],
                     cost(op, *trace_)});
  }
  return times;
}

}  // namespace

struct PersistentPool::State {
  Shared& shared;
  bool taps = false;
  std::map<const Trace*, Trace> traces;  // lowered
  DeviceMemory arena;
  std::vector<DeviceMemory> own_arenas;
  std::map<std::string, Streams> streams;
  std::uint32_t* unused = nullptr;

  const Streams& pack(const StepPlan& plan, const StepShape& shape);
};

PersistentPool::PersistentPool(Shared& shared, const Program& program,
                               std::vector<const Trace*> traces)
    : state_(std::make_unique<State>(State{shared, program.record_taps})) {
  if (shared.device.properties.major < kMinorOfBulkCopies) return;
  std::size_t most = 0;
  for (const Trace* trace : traces) {
    const auto& [key, made] = *state_->traces.emplace(trace, lowered(*trace)).first;
    most = std::max(most, lay_out(made).bytes);
  }
  if (!program.record_taps && most) state_->arena = DeviceMemory(most, "the steps' arena");
}

PersistentPool::~PersistentPool() = default;

std::size_t PersistentPool::bytes() const {
  std::size_t sum = state_->arena.size();
  for (const DeviceMemory& a : state_->own_arenas) sum += a.size();
  return sum;
}

const Streams& PersistentPool::State::pack(const StepPlan& plan, const StepShape& shape) {
  const std::size_t streams_count = static_cast<std::size_t>(shape.ctas) * kWarps;
  const int pass = turn_units(tiles_of(plan.rows));
  std::string key = std::to_string(shape.ctas) + "/" + std::to_string(pass);
  for (const PackedWeights& w : plan.weights) {
    key += "," + std::to_string(w.a.id) + "." + std::to_string(w.b.id);
  }
  Streams& s = streams[key];
  if (s.data.size()) return s;
  std::vector<std::uint32_t> tiles(streams_count, 0), first(streams_count + 1, 0);
  std::vector<std::vector<std::uint32_t>> first_tiles;
  for (const PackedWeights& w : plan.weights) {
    const ProductPhase& p = plan.phases[w.phase].product;
    first_tiles.push_back(tiles);
    for (int i = 0; i < static_cast<int>(streams_count); ++i) {
      const int cta = i / kWarps, warp = i % kWarps, clusters = shape.ctas / shape.cluster;
      const int parts = p.split ? shape.cluster * kWarps : kWarps;
      const int part = (p.split ? cta % shape.cluster * kWarps : 0) + warp;
      const Share mine = p.split ? share(p.units, cta / shape.cluster, clusters, p.rotate_share)
                                 : share(p.units, cta, shape.ctas, p.rotate_share);
      const int blocks_here = p.blocks * (part + 1) / parts - p.blocks * part / parts;
      tiles[static_cast<std::size_t>(i)] +=
          static_cast<std::uint32_t>((mine.last - mine.first) * blocks_here);
    }
  }
  for (std::size_t i = 0; i < streams_count; ++i) {
    first[i + 1] = first[i] + (tiles[i] + kPieceTiles - 1) / kPieceTiles;
  }
  s.data = DeviceMemory(std::size_t{first.back()} * kPiece + 256, "packed weights");
  s.first = DeviceMemory(first.size() * 4, "packed weights");
  shared.weights->add_bytes(s.data.size());
  check(cudaMemcpy(s.first.data(), first.data(), s.first.size(), cudaMemcpyHostToDevice),
        "packing");
  DeviceMemory offsets(streams_count * 4, "packing");
  for (std::size_t i = 0; i < plan.weights.size(); ++i) {
    const PackedWeights& w = plan.weights[i];
    check(cudaMemcpy(offsets.data(), first_tiles[i].data(), offsets.size(), cudaMemcpyHostToDevice),
          "packing");
    PackArgs args;
    args.phase = plan.phases[w.phase].product;
    args.weight = shared.weights->borrow(w.a, w.b, DType::bf16);
    args.stream = s.data.data();
    args.stream_first = reinterpret_cast<const std::uint32_t*>(s.first.data());
    args.first_tile = reinterpret_cast<const std::uint32_t*>(offsets.data());
    args.ctas = shape.ctas, args.cluster = shape.cluster, args.pass = pass;
    launch_pack(args, nullptr);
    check(cudaDeviceSynchronize(), "packing");
    shared.weights->give_back(w.a, w.b, DType::bf16);
  }
  return s;
}

std::unique_ptr<PersistentStep> PersistentPool::build(const Trace& trace, const Memory& memory,
                                                      std::string& why) {
  if (state_->shared.device.properties.major < kMinorOfBulkCopies) {
    why = "the device has no bulk copies and clusters (sm_90)";
    return nullptr;
  }
  const Trace& made = state_->traces.at(&trace);
  Layout layout = lay_out(made);
  Memory own = memory;
  own.arena = state_->arena.data();
  if (state_->taps) {
    state_->own_arenas.emplace_back(layout.bytes, "a step's arena");
    own.arena = state_->own_arenas.back().data();
  }
  Planner planner(made, own, layout.offsets, state_->shared);
  StepPlan plan;
  try {
    plan = build_step(planner);
  } catch (const Error& e) {
    why = e.what();
    return nullptr;
  }
  auto step = std::make_unique<Step>(made, std::move(layout), own.arena);
  step->shape = {plan.rows, kCluster, 0};
  const cudaError_t fits = fit_step(step->shape);
  if (fits != cudaSuccess || step->shape.ctas == 0) {
    why = std::string("no cluster fits: ") + cudaGetErrorString(fits);
    cudaGetLastError();
    return nullptr;
  }
  const Streams& streams = state_->pack(plan, step->shape);
  step->args.stream = streams.data.data();
  step->args.stream_first = reinterpret_cast<const std::uint32_t*>(streams.first.data());
  step->finish(plan, memory);
  return step;
}

}  // namespace tendon::cuda
