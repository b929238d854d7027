#include "backends/cuda/persistent.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "backends/cuda/persistent_builder.h"
#include "base/error.h"
#include "base/median.h"

namespace tendon::cuda {
namespace {

using namespace persistent;

constexpr int kMajorOfWarpgroups = 9;  // sm_90 alone
constexpr int kMostSlot = 14 * 1024;

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
  return trace.lowered([&](const Op& op) {
    const auto* q = std::get_if<ops::QkvRope>(&op);
    return !q || (!q->norm_q && !q->norm_k) || defers_head_norms(trace, *q);
  });
}

// There when it returns, for streams that do not wait for the default one.
template <class T>
DeviceMemory on_device(const std::vector<T>& values, const char* what) {
  DeviceMemory memory(std::max<std::size_t>(values.size() * sizeof(T), 256), what);
  check(cudaMemcpy(memory.data(), values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice),
        what);
  check(cudaStreamSynchronize(cudaStreamLegacy), what);
  return memory;
}

// Packed weights of a list of products, shared by the steps that have the same list.
struct Streams {
  DeviceMemory data, first, piece_count, piece_rows;
  int piece_stride = 0;
};

AttentionPlaces places(const StepPlan& plan) {
  return attention_places(plan.heads_width, plan.unit_rows);
}

// Working memory of a completed step.
int region_bytes(const StepPlan& plan) {
  int most = 0;
  for (const Phase& phase : plan.phases) {
    if (phase.kind == Kind::attention) most = std::max(most, places(plan).bytes);
    if (phase.kind == Kind::product) {
      const ProductPhase& p = phase.product;
      most = std::max({most, p.sums + sums_bytes(p), p.inbox + inbox_bytes(p)});
    }
    if (phase.kind == Kind::plain_product) most = std::max(most, plain_bytes());
  }
  return round_up(most, 1024);
}

// Bytes of a block of a side's columns, at most.
int tile_bytes(const ProductPhase& p, int ctas) {
  return side_units(p, ctas) * kColumns * kRowBytes;
}
int most_tile_bytes(const StepPlan& plan, int ctas) {
  int most = 1;
  for (const PackedWeights& w : plan.weights) {
    most = std::max(most, tile_bytes(plan.phases[w.phase].product, ctas));
  }
  return most;
}

// Bytes of a slot: a piece is as many whole blocks of a side as fit. What the ring holds at once,
// of all products, is the most.
int slot_bytes(const StepPlan& plan, int ctas, int ring) {
  const int most = most_tile_bytes(plan, ctas);
  int best = most;
  double held = 0;
  for (int slot = most; slot <= kMostSlot; slot += kColumns * kRowBytes) {
    const int depth = std::min(kMostDepth, ring / slot);
    double all = 0;
    for (const PackedWeights& w : plan.weights) {
      const ProductPhase& p = plan.phases[w.phase].product;
      const int tile = tile_bytes(p, ctas);
      all += 1.0 * p.units * p.blocks * (slot / tile * tile) * depth;
    }
    if (depth >= kUsualDepth && all > held) best = slot, held = all;
  }
  return best;
}

// What a product hands over is still copied when a CTA goes on to attention, which asks for keys at
// once: sums lie beyond its memory where there is room, else the cluster's CTAs meet in between.
void part_from_attention(StepPlan& plan, int ctas) {
  const int ring = kUsualDepth * most_tile_bytes(plan, ctas);
  const int region = std::max(region_bytes(plan), kSharedBytes - fixed_bytes() - ring);
  const int attention = places(plan).early;
  for (std::size_t i = 0; i + 1 < plan.phases.size(); ++i) {
    if (plan.phases[i + 1].kind != Kind::attention) continue;
    if (plan.phases[i].kind == Kind::attention) plan.phases[i].closes = 1;
    if (plan.phases[i].kind != Kind::product) continue;
    ProductPhase& p = plan.phases[i].product;
    const int sums = std::max(p.inbox + round_up(inbox_bytes(p), 128), attention);
    if (sums + sums_bytes(p) <= region) {
      p.sums = sums;
    } else {
      plan.phases[i].closes = 1;
    }
  }
}

// A warpgroup's columns have their registers; attention's results are still handed over when the
// next product's operands come.
bool operands_fit(const StepPlan& plan, int ctas) {
  return std::all_of(plan.phases.begin(), plan.phases.end(), [&](const Phase& p) {
    return p.kind != Kind::product ||
           (side_units(p.product, ctas) * kColumns <= kMostColumns &&
            (plan.heads_width == 0 || p.product.inputs <= places(plan).results));
  });
}

// The sums of a norm's rows come with the rows; where its factors are known by then and the same
// for all rows, the rows come multiplied by them, and the norm needs no pass over its inputs.
void connect(StepPlan& plan, const SumsLink& l) {
  ProductPhase &maker = plan.phases[l.maker].product, &reader = plan.phases[l.reader].product;
  if (maker.by_columns) return;  // sums are of groups of kSharers
  if (!maker.out_sums) maker.out_sums = l.sums;
  reader.row_sums = maker.out_sums;
  const int riders = reader.norm == NormKind::layer ? 2 : 1;
  if (!l.scaled || maker.scaled || reader.late || reader.rows_differ ||
      reader.m > kMostRows / kWarpRows * (kWarpRows - riders)) {
    return;
  }
  maker.scaled = l.scaled, maker.scaled_offset = reader.offset;
  maker.scaled_weight = reader.norm_weight, maker.scaled_scale = reader.scale;
  reader.x.data = l.scaled, reader.x.row_stride = reader.k;
  reader.riders = static_cast<std::uint8_t>(riders);
  plan.phases[l.reader].moments = 1;
}

// What follows from how many CTAs share a product's inputs.
void share_inputs(ProductPhase& p, int log, int ctas) {
  const int groups = ctas >> log;
  p.share_log = static_cast<std::uint8_t>(log);
  p.most_units = (p.units + groups - 1) / groups;
  p.by_columns = p.most_units > kFewUnits;
  const int rows = most_finished(p);
  p.row_log = rows > 16 ? 3 : rows > 8 ? 4 : rows > 4 || p.squares ? 5 : 6;
}

// Nanoseconds, by what an H200 showed: partial sums of all but one of those who share inputs, at 60
// bytes each; inputs at 100.
int sharing_cost(const ProductPhase& p) {
  const int handed = (sharers(p) - 1) * most_finished(p) * p.most_units * kColumns * 4;
  return handed / 60 + most_blocks(p) * kBlock * 2 * p.m / 100;
}

// Pairs share a product's inputs instead of fours where that costs less or columns are too many.
void choose_sharers(ProductPhase& p, int ctas) {
  const bool makes = p.out_sums || p.scaled;  // sums by groups of kSharers
  if (makes || (p.squares && p.m > kMostRows / 2)) return;
  ProductPhase pairs = p;
  share_inputs(pairs, kSharersLog - 1, ctas);
  if (!pairs.by_columns) return;
  const bool fits = side_units(p, ctas) * kColumns <= kMostColumns;
  if (!fits || sharing_cost(pairs) < sharing_cost(p)) p = pairs;
}

// Into how many parts a factor's sums are divided.
void set_parts(const StepPlan& plan, RowFactor& f, int ctas) {
  for (const Phase& phase : plan.phases) {
    if (!f.sums || phase.kind != Kind::product || !phase.product.squares) continue;
    const ProductPhase& p = phase.product;
    if (f.sums == p.squares || f.sums == p.squares + p.m) f.parts = ctas >> p.share_log;
  }
}

// What depends on the number of CTAs: how they and warpgroups share a product, who shares an
// attention's keys, whose squares are summed.
void complete(StepPlan& plan, int ctas) {
  for (Phase& phase : plan.phases) {
    if (phase.kind == Kind::product) share_inputs(phase.product, kSharersLog, ctas);
  }
  for (const SumsLink& l : plan.links) connect(plan, l);
  int operands = 0;
  for (Phase& phase : plan.phases) {
    if (phase.kind != Kind::product) continue;
    choose_sharers(phase.product, ctas);
    operands = std::max(operands, operands_bytes(phase.product));
  }
  for (Phase& phase : plan.phases) {
    if (phase.kind == Kind::product) {
      ProductPhase& p = phase.product;
      p.inputs = p.sums = round_up(operands, 1024);
      p.inbox = p.inputs + round_up(std::max(inputs_bytes(p), sums_bytes(p)), 128);
    }
    if (phase.kind != Kind::attention) continue;
    AttentionPhase& a = phase.attention;
    a.span = kCluster;
    while (a.span > 1 && a.units > ctas / a.span) a.span /= 2;
    set_parts(plan, a.q, ctas), set_parts(plan, a.own_keys, ctas);
  }
  part_from_attention(plan, ctas);
}

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

  void finish(const StepPlan& plan, const Memory& memory, const Streams& streams);

  StepArgs args;
  StepShape shape;

 private:
  const Trace* trace_;
  Layout layout_;
  std::byte* arena_;
  DeviceMemory phases_, work_, barrier_, clock_;
  std::vector<std::size_t> ops_;
  std::uint32_t barriers_ = 0, waits_ = 0, waits_first_ = 1;
};

void Step::finish(const StepPlan& plan, const Memory& memory, const Streams& streams) {
  args.stream = streams.data.data();
  args.stream_first = reinterpret_cast<const std::uint64_t*>(streams.first.data());
  args.piece_count = reinterpret_cast<const std::uint32_t*>(streams.piece_count.data());
  args.piece_rows = reinterpret_cast<const std::uint16_t*>(streams.piece_rows.data());
  args.piece_stride = streams.piece_stride;
  ops_ = plan.ops;
  phases_ = on_device(plan.phases, "a step's phases");
  std::vector<Work> work;
  for (const Phase& p : plan.phases) {
    for (int i = 0; i < shape.ctas; ++i) {
      work.push_back(p.kind == Kind::product ? work_of(p.product, i, shape.ctas, args.slot)
                                             : Work{});
    }
  }
  work_ = on_device(work, "a step's work");
  args.work = reinterpret_cast<const Work*>(work_.data());
  barrier_ = DeviceMemory(256, "a step's barrier");
  clock_ = DeviceMemory(plan.phases.size() * kMarks * sizeof(long long), "a step's clock");
  args.phases = reinterpret_cast<const Phase*>(phases_.data());
  args.count = static_cast<int>(plan.phases.size());
  args.iteration = memory.iteration;
  args.positions = plan.positions, args.position_count = plan.position_count;
  args.barrier = reinterpret_cast<std::uint32_t*>(barrier_.data());
  for (const Phase& p : plan.phases) waits_ += p.waits;
}

std::vector<Executable::StepTime> Step::profile(int repetitions, cudaStream_t stream) {
  // From leaving the phase before to leaving this one: the wait belongs to it.
  static constexpr const char* kParts[] = {" wait", " rows", " moments", " norm",  " multiply",
                                           " lay",  " push", " meet",    " finish"};
  const std::size_t n = static_cast<std::size_t>(args.count), parts = std::size(kParts);
  std::vector<std::vector<double>> all(n * parts);
  std::vector<long long> ticks(n * kMarks);
  int kilohertz = 0, device = 0;
  check(cudaGetDevice(&device), "profiling");
  check(cudaDeviceGetAttribute(&kilohertz, cudaDevAttrClockRate, device), "profiling");
  for (int r = 0; r < std::max(1, repetitions); ++r) {
    check(cudaMemset(clock_.data(), 0, clock_.size()), "profiling");
    check(cudaStreamSynchronize(cudaStreamLegacy), "profiling");
    args.clock = reinterpret_cast<long long*>(clock_.data());
    const cudaError_t status = run(0, 2, stream);
    args.clock = nullptr;
    check(status, "profiling");
    check(cudaStreamSynchronize(stream), "profiling");
    check(cudaMemcpy(ticks.data(), clock_.data(), ticks.size() * sizeof(long long),
                     cudaMemcpyDeviceToHost),
          "profiling");
    for (std::size_t i = 0; i < n; ++i) {
      long long* marks = &ticks[i * kMarks];
      for (std::size_t m = 1; m < kMarks; ++m) {
        if (marks[m] < marks[m - 1]) marks[m] = marks[m - 1];  // a part that this phase lacks
        all[i * parts + m - 1].push_back(static_cast<double>(marks[m] - marks[m - 1]) / kilohertz *
                                         1e-3);
      }
    }
  }
  std::vector<Executable::StepTime> times;
  for (std::size_t i = 0; i < n * parts; ++i) {
    const Op& op = trace_->ops()[ops_[i / parts]];
    times.push_back({std::string(name(op)), trace_->label(ops_[i / parts]) + kParts[i % parts],
                     median(all[i]), i % parts == 0 ? cost(op, *trace_) : Cost{}});
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

  const Streams& pack(const StepPlan& plan, int ctas, int slot);
};

PersistentPool::PersistentPool(Shared& shared, const Program& program,
                               std::vector<const Trace*> traces)
    : state_(std::make_unique<State>(State{shared, program.record_taps})) {
  if (shared.device.properties.major != kMajorOfWarpgroups) return;
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

namespace {

// Pieces of every CTA's stream, in rows of kRowBytes, and where each product begins in it.
struct StreamPlan {
  std::vector<std::vector<std::uint16_t>> pieces;  // by CTA
  std::vector<std::vector<std::uint64_t>> first;   // by product, then by CTA: bytes
  std::vector<std::uint64_t> bytes;                // by CTA
};

StreamPlan plan_streams(const StepPlan& plan, int ctas, int slot) {
  const std::size_t streams = static_cast<std::size_t>(ctas);
  StreamPlan out{
      std::vector<std::vector<std::uint16_t>>(streams), {}, std::vector<std::uint64_t>(streams, 0)};
  for (const PackedWeights& packed : plan.weights) {
    const ProductPhase& p = plan.phases[packed.phase].product;
    out.first.push_back(out.bytes);
    for (std::size_t i = 0; i < streams; ++i) {
      const Work w = work_of(p, static_cast<int>(i), ctas, slot);
      for (int number = 0; number < w.side[0].pieces + w.side[1].pieces; ++number) {
        const Piece piece = piece_of(w, number);
        const int rows = piece.blocks * w.side[piece.side].units * kColumns;
        out.pieces[i].push_back(static_cast<std::uint16_t>(rows));
        out.bytes[i] += static_cast<std::uint64_t>(rows) * kRowBytes;
      }
    }
  }
  return out;
}

}  // namespace

const Streams& PersistentPool::State::pack(const StepPlan& plan, int ctas, int slot) {
  std::string key = std::to_string(ctas) + "/" + std::to_string(slot);
  for (const PackedWeights& w : plan.weights) {
    key += "," + std::to_string(w.a.id) + "." + std::to_string(w.b.id);
  }
  Streams& s = streams[key];
  if (s.data.size()) return s;
  const StreamPlan layout = plan_streams(plan, ctas, slot);
  std::vector<std::uint64_t> first;
  std::vector<std::uint32_t> counts;
  std::uint64_t all = 0;
  std::size_t most = 0;
  for (std::size_t i = 0; i < layout.pieces.size(); ++i) {
    first.push_back(all), all += layout.bytes[i];
    counts.push_back(static_cast<std::uint32_t>(layout.pieces[i].size()));
    most = std::max(most, layout.pieces[i].size());
  }
  s.piece_stride = round_up(static_cast<int>(most) + 1, 32);
  std::vector<std::uint16_t> pieces(layout.pieces.size() *
                                    static_cast<std::size_t>(s.piece_stride));
  for (std::size_t i = 0; i < layout.pieces.size(); ++i) {
    std::copy(layout.pieces[i].begin(), layout.pieces[i].end(),
              pieces.begin() + static_cast<std::ptrdiff_t>(i) * s.piece_stride);
  }
  s.data = DeviceMemory(std::max<std::size_t>(all, 256), "packed weights");
  s.first = on_device(first, "packing"), s.piece_count = on_device(counts, "packing");
  s.piece_rows = on_device(pieces, "packing");
  shared.weights->add_bytes(s.data.size());
  for (std::size_t i = 0; i < plan.weights.size(); ++i) {
    const PackedWeights& w = plan.weights[i];
    std::vector<std::uint64_t> starts = layout.first[i];
    for (std::size_t j = 0; j < starts.size(); ++j) starts[j] += first[j];
    const DeviceMemory offsets = on_device(starts, "packing");
    PackArgs args;
    args.phase = plan.phases[w.phase].product;
    args.weight = shared.weights->borrow(w.a, w.b, DType::bf16);
    args.stream = s.data.data();
    args.first = reinterpret_cast<const std::uint64_t*>(offsets.data());
    args.ctas = ctas, args.slot = slot;
    launch_pack(args, nullptr);
    check(cudaDeviceSynchronize(), "packing");
    shared.weights->give_back(w.a, w.b, DType::bf16);
  }
  return s;
}

std::unique_ptr<PersistentStep> PersistentPool::build(const Trace& trace, const Memory& memory,
                                                      std::string& why) {
  if (state_->shared.device.properties.major != kMajorOfWarpgroups) {
    why = "the device has no warpgroup products (sm_90)";
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
  step->shape = {plan.heads_width, plan.unit_rows, plan.heads, 0};
  const cudaError_t fits = fit_step(step->shape);
  if (fits != cudaSuccess || step->shape.ctas == 0) {
    why = std::string("no cluster fits: ") + cudaGetErrorString(fits);
    cudaGetLastError();
    return nullptr;
  }
  complete(plan, step->shape.ctas);
  step->args.region = region_bytes(plan);
  const int ring = kSharedBytes - fixed_bytes() - step->args.region;
  step->args.slot = slot_bytes(plan, step->shape.ctas, ring);
  step->args.depth = std::min(kMostDepth, ring / step->args.slot);
  if (step->args.depth < kLeastDepth || step->args.slot > kMostSlot ||
      !operands_fit(plan, step->shape.ctas)) {
    why = "a product's rows or columns leave no memory for weights";
    return nullptr;
  }
  step->finish(plan, memory, state_->pack(plan, step->shape.ctas, step->args.slot));
  return step;
}

}  // namespace tendon::cuda
