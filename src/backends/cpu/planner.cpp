#include "backends/cpu/planner.h"

namespace tendon::cpu {
namespace {

// A thread does some 10^5 operations of a product in a microsecond, and passes over about 8 KB.
// Starting the others and waiting for them takes 1 us where they are awake.
constexpr double kOperationsOfByte = 12.0, kWorthStarting = 1e6;

}  // namespace

bool Table::in_range(Range of) const {
  if (!rows) return true;
  for (std::int64_t i = of.begin / per_row; i < (of.end + per_row - 1) / per_row; ++i) {
    if (rows[i] < 0 || rows[i] >= count) return false;
  }
  return true;
}

Planner::Planner(const Trace& trace, const Machine& machine, Weights& weights, Addresses addresses)
    : trace_(trace), machine_(machine), weights_(weights), addresses_(std::move(addresses)) {
  double work = 0;
  for (const Op& op : trace.ops()) {
    const Cost c = cost(op, trace);
    work += c.flops + kOperationsOfByte * c.bytes;
  }
  if (work > kWorthStarting) threads_ = machine.team->count();
}

View Planner::view(Value v) const {
  if (!v) return {};
  const ValueInfo& info = trace_.info(v);
  switch (info.kind) {
    case ValueInfo::Kind::buffer:
      return {addresses_.buffers[static_cast<std::size_t>(info.buffer.id)], info};
    case ValueInfo::Kind::iteration:
      return {reinterpret_cast<std::byte*>(const_cast<std::int32_t*>(addresses_.iteration)), info};
    case ValueInfo::Kind::intermediate:
      break;
  }
  const std::size_t at = addresses_.arena.offset[static_cast<std::size_t>(info.root)];
  return {addresses_.intermediates + at, info};
}

const std::int32_t* Planner::integers(Value v) const {
  if (!v) return nullptr;
  const View i = view(v);
  require(i.dense(), "indices: a dense value is wanted, a strided {} came", i.shape().str());
  return i.as<std::int32_t>();
}

Table Planner::table(const RowTable& t, std::int64_t rows) const {
  if (!t) return {};
  const View v = view(t.table);
  Table out;
  out.data = v.as<float>() + t.column;
  out.stride = v.stride(0);
  out.count = v.shape()[0];
  out.rows = integers(t.rows);
  if (t.rows) out.per_row = std::max<std::int64_t>(1, rows / trace_.shape(t.rows).numel());
  return out;
}

std::byte* Planner::scratch(std::size_t bytes) {
  std::byte* p = addresses_.scratch + scratch_used_;
  scratch_used_ += (bytes + 255) / 256 * 256;
  scratch_bytes_ = std::max(scratch_bytes_, scratch_used_);
  return p;
}

std::byte* Planner::own(std::size_t bytes) {
  std::byte* p = addresses_.own + own_used_;
  own_used_ += (bytes + 255) / 256 * 256;
  own_most_ = std::max(own_most_, own_used_);
  return p;
}

std::vector<std::unique_ptr<Step>> Planner::plan_all() {
  for (std::size_t i = 0; i < trace_.ops().size(); ++i) {
    scratch_used_ = own_used_ = 0;
    try {
      std::visit([&](const auto& op) { plan(*this, op); }, trace_.ops()[i]);
    } catch (const Error& e) {
      fail("{}: {}: {}", trace_.name(), trace_.label(i), e.what());
    }
    require(steps_.size() == i + 1, "{}: {}: planned as {} steps", trace_.name(), trace_.label(i),
            steps_.size() - i);
  }
  return std::move(steps_);
}

}  // namespace tendon::cpu
