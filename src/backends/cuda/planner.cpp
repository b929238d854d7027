#include "backends/cuda/planner.h"

#include <algorithm>

#include "base/error.h"

namespace tendon::cuda {

Planner::Planner(const Trace& trace, const Memory& memory, std::vector<std::size_t> offsets,
                 Shared& shared)
    : trace_(&trace), memory_(&memory), offsets_(std::move(offsets)), shared_(&shared) {}

Planner::Operand Planner::at(Value v) const {
  if (!v) return {};
  const ValueInfo& info = trace_->info(v);
  if (info.kind == ValueInfo::Kind::iteration) {
    return {reinterpret_cast<std::byte*>(memory_->iteration), &info};
  }
  std::byte* base = info.kind == ValueInfo::Kind::buffer
                        ? memory_->buffers[static_cast<std::size_t>(info.buffer.id)]
                        : memory_->arena + offsets_[static_cast<std::size_t>(info.root)];
  return {base + static_cast<std::size_t>(info.offset) * size_of(info.dtype), &info};
}

device::RowsView Planner::rows(Value v) const {
  const Operand operand = at(v);
  device::RowsView view;
  if (!operand) return view;
  const Rows r = as_rows(*operand.info);
  view.data = operand.data;
  view.dtype = operand.info->dtype;
  view.count = static_cast<int>(r.count());
  view.width = static_cast<int>(r.width);
  view.rows = static_cast<int>(r.rows);
  view.batch_stride = r.batch_stride;
  view.row_stride = r.row_stride;
  if (r.batches == 1 || r.batch_stride == r.rows * r.row_stride) view.rows = view.count;
  return view;
}

device::Strided Planner::strided(Value v) const {
  const Operand operand = at(v);
  device::Strided s;
  if (!operand) return s;
  s.data = operand.data;
  s.dtype = operand.info->dtype;
  for (int i = 0; i < operand.info->shape.rank(); ++i) {
    s.stride[i] = operand.info->strides[static_cast<std::size_t>(i)];
  }
  return s;
}

device::Extents Planner::extents(Value v) const {
  const Shape& shape = trace_->shape(v);
  device::Extents e;
  e.rank = shape.rank();
  for (int i = 0; i < e.rank; ++i) e.extent[i] = shape[i];
  return e;
}

device::TableView Planner::table(const RowTable& table, std::int64_t count) const {
  device::TableView view;
  if (!table) return view;
  const Operand t = at(table.table);
  view.data = reinterpret_cast<const float*>(t.data) + table.column;
  view.stride = static_cast<int>(t.info->strides[0]);
  if (table.rows) {
    view.index = data<std::int32_t>(table.rows);
    view.rows = static_cast<int>(count / trace_->shape(table.rows).numel());
  }
  return view;
}

const void* Planner::constant(const void* data, std::size_t bytes) {
  DeviceMemory memory(bytes, "constants of a plan");
  check(cudaMemcpy(memory.data(), data, bytes, cudaMemcpyHostToDevice), "writing constants");
  check(cudaStreamSynchronize(cudaStreamLegacy), "writing constants");
  shared_->constants.push_back(std::move(memory));
  return shared_->constants.back().data();
}

Scratch Planner::scratch(std::size_t bytes) {
  const Scratch scratch{&shared_->scratch, used_};
  used_ += (bytes + 255) / 256 * 256;
  need_.bytes = used_;
  shared_->needs.push_back(need_);
  return scratch;
}

void Planner::launch(Launch launch) { planned_.push_back({op_, std::move(launch)}); }

std::vector<Launch> Planner::apart(const Choice& choice, std::size_t option,
                                   const std::function<void()>& plan) {
  const std::size_t first = planned_.size(), used = used_;
  need_.where.emplace_back(&choice, option);
  plan();
  need_.where.pop_back();
  used_ = used;
  std::vector<Launch> launches;
  for (std::size_t i = first; i < planned_.size(); ++i) {
    launches.push_back(std::move(planned_[i].launch));
  }
  planned_.resize(first);
  return launches;
}

std::size_t most_scratch(const Shared& shared) {
  std::size_t most = 0;
  for (const ScratchNeed& need : shared.needs) most = std::max(most, need.bytes);
  return most;
}

std::size_t selected_scratch(const Shared& shared) {
  std::size_t most = 0;
  for (const ScratchNeed& need : shared.needs) {
    const bool selected = std::all_of(need.where.begin(), need.where.end(),
                                      [](const auto& w) { return w.first->selected == w.second; });
    if (selected) most = std::max(most, need.bytes);
  }
  return most;
}

int vector_width(std::initializer_list<device::RowsView> views) {
  for (const device::RowsView& v : views) {
    if (!v.data) continue;
    if (v.dtype == DType::i32 || v.dtype == DType::u8) return 1;
    const std::int64_t unit = 16 / static_cast<std::int64_t>(size_of(v.dtype));
    if (reinterpret_cast<std::uintptr_t>(v.data) % 16 || v.width % 8 || v.row_stride % unit ||
        v.batch_stride % unit) {
      return 1;
    }
  }
  return 8;
}

int vector_width(const device::TableView& table, int width) {
  if (!table.data) return 8;
  const bool fits = reinterpret_cast<std::uintptr_t>(table.data) % 16 == 0 && width % 8 == 0 &&
                    table.stride % 4 == 0;
  return fits ? 8 : 1;
}

device::Curve curve_of(Act act) { return static_cast<device::Curve>(act); }

}  // namespace tendon::cuda
