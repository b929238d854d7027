#include "backends/cuda/executable.h"

#include <nvtx3/nvToolsExt.h>

#include <algorithm>
#include <cstring>

#include "backends/cuda/counter.h"
#include "base/error.h"
#include "base/half.h"
#include "base/median.h"
#include "ops/arena.h"
#include "ops/independence.h"

namespace tendon::cuda {
namespace {

std::size_t bytes_of(const BufferSpec& spec) {
  return static_cast<std::size_t>(spec.shape.numel()) * size_of(spec.dtype);
}

bool reads_iteration(const Trace& trace) {
  return std::any_of(trace.values().begin(), trace.values().end(),
                     [](const ValueInfo& v) { return v.kind == ValueInfo::Kind::iteration; });
}

float as_float(const std::byte* p, std::int64_t i, DType dtype) {
  switch (dtype) {
    case DType::bf16:
      return bf16_to_f32(reinterpret_cast<const std::uint16_t*>(p)[i]);
    case DType::f16:
      return f16_to_f32(reinterpret_cast<const std::uint16_t*>(p)[i]);
    case DType::i32:
      return static_cast<float>(reinterpret_cast<const std::int32_t*>(p)[i]);
    case DType::u8:
      return static_cast<float>(reinterpret_cast<const std::uint8_t*>(p)[i]);
    default:
      return reinterpret_cast<const float*>(p)[i];
  }
}

// Plans op `at` together with those after it where one launch serves several: how many.
std::size_t plan_together(Planner& planner, const Trace& trace, std::size_t at) {
  if (at + 1 >= trace.ops().size()) return 0;
  if (std::holds_alternative<ops::QkvRope>(trace.ops()[at])) return plan_qkv_batch(planner, at);
  const auto* norm = std::get_if<ops::RmsNorm>(&trace.ops()[at]);
  const auto* after = std::get_if<ops::Activation>(&trace.ops()[at + 1]);
  return norm && after && plan_pair(planner, *norm, *after) ? 2 : 0;
}

Stream new_stream() {
  Stream stream;
  check(cudaStreamCreateWithFlags(stream.put(), cudaStreamNonBlocking), "creating a stream");
  return stream;
}

}  // namespace

CudaExecutable::CudaExecutable(std::unique_ptr<Program> program, const Device& device,
                               const CudaOptions& options, const CompileOptions& compile)
    : program_(std::move(program)),
      device_(open_device(device.index)),
      options_(options),
      stream_(new_stream()),
      side_(stream_.get(), program_->traces.size()),
      weights_(*program_, compile.threads),
      gemms_(std::make_unique<GemmLibrary>(device_, options.cache, side_.get())),
      staging_(stream_.get()) {
  allocate();
  make_pool();
  for (std::size_t i = 0; i < planned_.size(); ++i) plan(i, compile);
  weights_.release();
  choose();
  gemms_->save();
  for (Planned& planned : planned_) {
    if (!planned.step) capture(planned);
  }
  for (std::size_t i = 0; i < planned_.size();
       ++i) {  // first launches load code: not on the warm path
    const Status warm = run(i, 0, 1);
    require(warm.ok(), "{}", warm.message());
  }
  check(side_.join(), "warming up");
  check(cudaStreamSynchronize(stream_.get()), "warming up");
  for (DeviceMemory& buffer : buffers_) {
    check(cudaMemsetAsync(buffer.data(), 0, buffer.size(), stream_.get()), "clearing buffers");
  }
  for (const auto& [buffer, bytes] : program_->initial) {
    const Status done = write(buffer, bytes, 0);
    require(done.ok(), "{}", done.message());
  }
  program_->initial.clear();
  check(cudaStreamSynchronize(stream_.get()), "writing initial contents");
}

CudaExecutable::~CudaExecutable() {
  side_.join();
  cudaStreamSynchronize(stream_.get());
}

void CudaExecutable::allocate() {
  shared_ = {device_, &weights_, gemms_.get()};
  side_shared_ = {device_, &weights_, gemms_.get()};
  side_shared_.aside = true;
  iteration_ = DeviceMemory(256, "the iteration counter");
  Memory memory;
  memory.iteration = reinterpret_cast<std::int32_t*>(iteration_.data());
  for (const BufferSpec& spec : program_->buffers) {
    buffers_.emplace_back(std::max<std::size_t>(bytes_of(spec), 256), "buffers");
    memory.buffers.push_back(buffers_.back().data());
  }
  std::vector<std::size_t> arenas;
  for (const Trace& trace : program_->traces) {
    Planned planned{&trace, memory};
    planned.iterates = reads_iteration(trace);
    ArenaPlan arena = plan_arena(trace);
    planned.offsets = std::move(arena.offset);
    if (program_->record_taps) {  // taps of one trace survive the runs of others
      own_arenas_.emplace_back(arena.bytes, "the arena");
      planned.memory.arena = own_arenas_.back().data();
    }
    arenas.push_back(arena.bytes);
    planned_.push_back(std::move(planned));
  }
  if (program_->record_taps) return;
  find_independent(arenas);
  std::size_t most = 0, most_aside = 0;
  for (std::size_t i = 0; i < arenas.size(); ++i) {
    std::size_t& to = planned_[i].aside ? most_aside : most;
    to = std::max(to, arenas[i]);
  }
  arena_ = DeviceMemory(most, "the arena");
  if (most_aside) side_arena_ = DeviceMemory(most_aside, "the side arena");
  for (Planned& planned : planned_) {
    planned.memory.arena = planned.aside ? side_arena_.data() : arena_.data();
  }
}

// Of two traces that touch nothing of each other the one with the smaller arena runs aside.
void CudaExecutable::find_independent(const std::vector<std::size_t>& arenas) {
  const std::size_t count = planned_.size();
  for (std::size_t i = 0; i < count; ++i) {
    planned_[i].clashes.resize(count);
    for (std::size_t j = 0; j < count; ++j) {
      planned_[i].clashes[j] = clash(*planned_[i].trace, *planned_[j].trace);
    }
    for (std::size_t b = 0; b < buffers_.size(); ++b) {
      planned_[i].touches.push_back(touches(*planned_[i].trace, {static_cast<std::int32_t>(b)}));
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t j = 0; j < count; ++j) {
      const bool smaller = arenas[i] < arenas[j] && !planned_[i].iterates && !planned_[j].iterates;
      if (smaller && !planned_[i].clashes[j]) planned_[i].aside = true;
    }
  }
}

void CudaExecutable::make_pool() {
  std::vector<const Trace*> steps;
  for (const Planned& planned : planned_) {
    if (planned.iterates) steps.push_back(planned.trace);
  }
  if (options_.steps == StepMode::captured || steps.empty()) return;
  pool_ = std::make_unique<PersistentPool>(shared_, *program_, std::move(steps));
}

bool CudaExecutable::plan_persistent(std::size_t i) {
  Planned& planned = planned_[i];
  if (!pool_ || !planned.iterates) return false;
  std::string why;
  std::unique_ptr<PersistentStep> step = pool_->build(*planned.trace, planned.memory, why);
  require(step || options_.steps != StepMode::persistent,
          "cuda: {} does not suit a persistent kernel: {}", planned.trace->name(), why);
  planned.step = std::move(step);
  return planned.step != nullptr;
}

void CudaExecutable::plan(std::size_t i, const CompileOptions& compile) {
  Planned& planned = planned_[i];
  const Trace& trace = *planned.trace;
  if (plan_persistent(i)) return;
  gemms_->choices().begin(trace);
  Planner planner(trace, planned.memory, planned.offsets, planned.aside ? side_shared_ : shared_);
  for (std::size_t at = 0, planned_ops = 1; at < trace.ops().size(); at += planned_ops) {
    if (compile.progress) {
      const double part = static_cast<double>(at) / static_cast<double>(trace.ops().size());
      compile.progress(trace.name() + ": " + trace.label(at),
                       (static_cast<double>(i) + part) / static_cast<double>(planned_.size()));
    }
    planner.begin(at);
    try {
      planned_ops = plan_together(planner, trace, at);
      if (planned_ops > 0) continue;
      planned_ops = 1;
      std::visit([&](const auto& op) { cuda::plan(planner, op); }, trace.ops()[at]);
    } catch (const Error& e) {
      fail("{}: {}: {}", trace.name(), trace.label(at), e.what());
    }
  }
  planned.launches = planner.take();
}

void CudaExecutable::capture(Planned& planned) {
  Handle<cudaGraph_t, cudaGraphDestroy> graph;
  cudaStream_t stream = planned.aside ? side_.get() : stream_.get();
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capturing");
  for (const Planner::Planned& p : planned.launches) p.launch(stream);
  if (planned.iterates) launch_add_one(planned.memory.iteration, stream);
  check(cudaStreamEndCapture(stream, graph.put()), planned.trace->name().c_str());
  check(cudaGetLastError(), planned.trace->name().c_str());
  check(cudaGraphInstantiate(planned.graph.put(), graph.get(), 0), planned.trace->name().c_str());
  check(cudaGraphUpload(planned.graph.get(), stream_.get()), "uploading a graph");
}

MemoryReport CudaExecutable::memory() const {
  MemoryReport report{
      .weights = weights_.bytes(),
      .arena = arena_.size() + scratch_.size() + side_arena_.size() + side_scratch_.size()};
  for (const DeviceMemory& b : buffers_) report.buffers += b.size();
  for (const DeviceMemory& a : own_arenas_) report.arena += a.size();
  if (pool_) report.arena += pool_->bytes();
  report.arena += gemms_->bytes();
  return report;
}

Status CudaExecutable::checked(cudaError_t status, const char* what) const noexcept {
  if (status == cudaSuccess) return {};
  char text[Status::kCapacity];
  const auto end =
      fmt::format_to_n(text, sizeof text, "cuda: {}: {}", what, cudaGetErrorString(status));
  return Status(std::string_view(text, std::min(end.size, sizeof text)));
}

Status CudaExecutable::outside(BufferRef buffer, std::size_t offset,
                               std::size_t size) const noexcept {
  const std::size_t id = static_cast<std::size_t>(buffer.id);
  if (buffer.id < 0 || id >= buffers_.size()) return Status("cuda: no such buffer");
  const std::size_t all = bytes_of(program_->buffers[id]);
  if (offset > all || size > all - offset) return Status("cuda: bytes past the end of a buffer");
  return {};
}

Status CudaExecutable::write(BufferRef buffer, std::span<const std::byte> data,
                             std::size_t offset) noexcept {
  if (Status bad = outside(buffer, offset, data.size()); !bad.ok()) return bad;
  std::byte* to = buffers_[static_cast<std::size_t>(buffer.id)].data() + offset;
  const cudaError_t joined = join_for(buffer);
  return checked(joined == cudaSuccess ? staging_.write(to, data) : joined, "writing a buffer");
}

Status CudaExecutable::read(BufferRef buffer, std::span<std::byte> data,
                            std::size_t offset) noexcept {
  if (Status bad = outside(buffer, offset, data.size()); !bad.ok()) return bad;
  const std::byte* from = buffers_[static_cast<std::size_t>(buffer.id)].data() + offset;
  const cudaError_t joined = join_for(buffer);
  return checked(joined == cudaSuccess ? staging_.read(data, from) : joined, "reading a buffer");
}

// Waits for what runs aside where it touches a buffer.
cudaError_t CudaExecutable::join_for(BufferRef buffer) noexcept {
  for (std::size_t i = 0; i < planned_.size(); ++i) {
    const Planned& planned = planned_[i];
    if (planned.aside && side_.running(i) && planned.touches[static_cast<std::size_t>(buffer.id)]) {
      return side_.join();
    }
  }
  return cudaSuccess;
}

Status CudaExecutable::run(std::size_t trace, int first, int count) noexcept {
  if (trace >= planned_.size()) return Status("cuda: no such trace");
  if (count <= 0) return {};
  const Planned& planned = planned_[trace];
  nvtxRangePushA(planned.trace->name().c_str());
  cudaError_t status = cudaSuccess;
  if (planned.aside) {
    status = side_.enter();
    if (status == cudaSuccess) status = launch(planned, first, count);
    if (status == cudaSuccess) status = side_.leave(trace);
  } else {
    if (side_.clashes(planned.clashes)) status = side_.join();
    if (status == cudaSuccess) status = launch(planned, first, count);
  }
  if (status == cudaSuccess) status = cudaGetLastError();
  nvtxRangePop();
  return checked(status, planned.trace->name().c_str());
}

cudaError_t CudaExecutable::launch(const Planned& planned, int first, int count) noexcept {
  if (planned.step) return planned.step->run(first, count, stream_.get());
  cudaStream_t stream = planned.aside ? side_.get() : stream_.get();
  if (planned.iterates) launch_set(planned.memory.iteration, first, stream);
  cudaError_t status = cudaSuccess;
  for (int i = 0; i < count && status == cudaSuccess; ++i) {
    status = cudaGraphLaunch(planned.graph.get(), stream);
  }
  return status;
}

Status CudaExecutable::wait() noexcept {
  const cudaError_t joined = side_.join();
  return checked(joined == cudaSuccess ? cudaStreamSynchronize(stream_.get()) : joined, "waiting");
}

std::vector<float> CudaExecutable::fetch(std::size_t trace, Value value) {
  const Planned& planned = planned_.at(trace);
  const ValueInfo& info = planned.trace->info(value);
  const auto& taps = planned.trace->taps();
  const bool tapped = std::any_of(taps.begin(), taps.end(), [&](const Trace::Tap& tap) {
    return planned.trace->info(tap.value).root == info.root;
  });
  require(info.kind != ValueInfo::Kind::intermediate || tapped,
          "{}: value {} is neither tapped nor a buffer", planned.trace->name(), value.id);
  const std::vector<std::size_t>& offsets =
      planned.step ? planned.step->offsets() : planned.offsets;
  Memory memory = planned.memory;
  if (planned.step) memory.arena = planned.step->arena();
  const Planner::Operand from = Planner(*planned.trace, memory, offsets, shared_).at(value);
  std::int64_t extent = 1;
  for (int d = 0; d < info.shape.rank(); ++d) {
    extent += (info.shape[d] - 1) * info.strides[static_cast<std::size_t>(d)];
  }
  if (info.shape.numel() == 0) return {};
  std::vector<std::byte> raw(static_cast<std::size_t>(extent) * size_of(info.dtype));
  check(side_.join(), "fetching");
  check(cudaStreamSynchronize(stream_.get()), "fetching");
  check(cudaMemcpy(raw.data(), from.data, raw.size(), cudaMemcpyDeviceToHost), "fetching");
  std::vector<float> dense(static_cast<std::size_t>(info.shape.numel()));
  for (std::size_t i = 0; i < dense.size(); ++i) {
    std::int64_t rest = static_cast<std::int64_t>(i), at = 0;
    for (int d = info.shape.rank() - 1; d >= 0; --d) {
      at += rest % info.shape[d] * info.strides[static_cast<std::size_t>(d)];
      rest /= info.shape[d];
    }
    dense[i] = as_float(raw.data(), at, info.dtype);
  }
  return dense;
}

std::vector<Executable::StepTime> CudaExecutable::profile(std::size_t trace, int repetitions) {
  const Planned& planned = planned_.at(trace);
  check(side_.join(), "profiling");
  if (planned.step) return planned.step->profile(repetitions, stream_.get());
  const std::size_t ops = planned.trace->ops().size();
  std::vector<Event> marks(ops + 1);
  for (Event& e : marks) check(cudaEventCreate(e.put()), "creating an event");
  std::vector<std::vector<double>> times(ops);
  for (int r = 0; r < std::max(1, repetitions); ++r) {
    std::size_t at = 0;
    for (std::size_t op = 0; op < ops; ++op) {
      check(cudaEventRecord(marks[op].get(), stream_.get()), "profiling");
      for (; at < planned.launches.size() && planned.launches[at].op == op; ++at) {
        planned.launches[at].launch(stream_.get());
      }
    }
    check(cudaEventRecord(marks[ops].get(), stream_.get()), "profiling");
    check(cudaStreamSynchronize(stream_.get()), "profiling");
    for (std::size_t op = 0; op < ops; ++op) {
      float milliseconds = 0;
      check(cudaEventElapsedTime(&milliseconds, marks[op].get(), marks[op + 1].get()), "profiling");
      times[op].push_back(milliseconds);
    }
  }
  std::vector<StepTime> steps;
  for (std::size_t op = 0; op < ops; ++op) {
    const Op& o = planned.trace->ops()[op];
    steps.push_back({std::string(name(o)), planned.trace->label(op), median(times[op]) * 1e-3,
                     cost(o, *planned.trace)});
  }
  return steps;
}

}  // namespace tendon::cuda
