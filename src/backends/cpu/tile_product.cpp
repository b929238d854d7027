#include "backends/cpu/tile_product.h"

#include <algorithm>

#include "backends/cpu/tiles.h"

namespace tendon::cpu {
namespace {

constexpr std::int64_t kTaskRows = 256;
constexpr std::int64_t kSumFloats = 1 << 16;  // of a task: 256 KB, an eighth of L2
// Of K between two visits of a sum: 32 columns are 128 KB then, 256 rows 1 MB, both stay in L2.
constexpr std::int64_t kSliceDepth = 2048;
constexpr std::int64_t kTasksOfThread = 4;
// What is left of K after whole passes visits every sum once more: little beside 16 passes.
constexpr std::int64_t kLeastRaggedRun = 512;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Equal parts of at most `most`.
std::int64_t even(std::int64_t count, std::int64_t most) {
  return count > 0 ? ceil_div(count, ceil_div(count, most)) : 1;
}

}  // namespace

bool tiles_suit(const Planner& planner, WeightRef weight, std::int64_t run) {
  return planner.machine().tiles && planner.kernels().panel_columns == kTileColumns &&
         planner.trace().program().weight(weight).format == Format::bf16 && tiles_suit_run(run);
}

bool tiles_suit_run(std::int64_t run) {
  return run % kTileDepth == 0 || (run % 2 == 0 && run >= kLeastRaggedRun);
}

struct TileProduct::Task {
  std::int64_t segment, row, rows, group, groups;
};

TileProduct::TileProduct(Planner& planner, const TileRows& x, ProductSpec spec)
    : x_(x),
      w_(spec.weight),
      up_(spec.up),
      epilogue_(std::move(spec.epilogue)),
      kernels_(&planner.kernels()) {
  threads_ = planner.threads();
  plan_tasks();
  task_sums_ = task_rows_ * task_groups_ * kTileColumns;
  sums_ = planner.own_of<float>(task_sums_ * (up_.n > 0 ? 2 : 1));
}

void TileProduct::plan_tasks() {
  block_rows_ = even(x_.rows, kTileRows);
  task_rows_ = block_rows_ * even(ceil_div(x_.rows, block_rows_), kTaskRows / block_rows_);
  task_groups_ = std::min(w_.panels, kSumFloats / (task_rows_ * kTileColumns));
  const std::int64_t wanted = threads_ * kTasksOfThread;
  const std::int64_t along = x_.segments * ceil_div(x_.rows, task_rows_);
  if (threads_ > 1 && along * ceil_div(w_.panels, task_groups_) < wanted) {
    task_groups_ = std::max<std::int64_t>(1, w_.panels / ceil_div(wanted, along));
  }
  task_groups_ = even(w_.panels, task_groups_);
}

// Slices of K outside, so that the rows' part of one stays in L2 for all columns and the columns'
// part for all rows. While one part of the columns is multiplied by all rows, the next is asked
// for.
void TileProduct::compute(const Task& t, const PackedMatrix& w, float* sums) const noexcept {
  const std::int64_t run = w.k / x_.taps, c_row = task_groups_ * kTileColumns;
  const std::int64_t whole = run / kTileDepth * kTileDepth;
  const std::int64_t slice = ceil_div(even(whole, kSliceDepth), kTileDepth) * kTileDepth;
  const std::int64_t blocks = ceil_div(t.rows, block_rows_);
  const std::byte* data = x_.data + t.segment * x_.segment_bytes + t.row * x_.row_bytes;
  Tiles tiles;
  for (std::int64_t tap = 0; tap < x_.taps; ++tap) {
    for (std::int64_t from = 0, step = 0; from < run; from += step) {
      const std::int64_t k = tap * run + from, depth = std::min(kTileDepth, run - from);
      step = from < whole ? std::min(slice, whole - from) : depth;
      TileBlock b{.a_row = x_.row_bytes, .k = step, .c_row = c_row};
      b.fresh = k == 0;
      for (std::int64_t group = 0; group < t.groups; ++group) {
        b.b = w.data + (t.group + group) * w.panel_bytes + k / 2 * kTileColumns * 4;
        const std::int64_t part = b.k * kTileColumns * 2;  // bytes of b
        b.next = group + 1 < t.groups ? b.b + w.panel_bytes : b.b + part - group * w.panel_bytes;
        b.next_bytes = ceil_div(part, blocks * b.k / depth);
        for (std::int64_t row = 0; row < t.rows; row += block_rows_) {
          b.a = data + row * x_.row_bytes + tap * x_.tap_bytes + from * 2;
          b.c = sums + row * c_row + group * kTileColumns;
          tiles.set_shape(std::min(block_rows_, t.rows - row), depth);
          tiles.multiply(b);
          b.next += ceil_div(part, blocks);
        }
      }
    }
  }
}

void TileProduct::finish(const Task& t, float* sums, float* up) const noexcept {
  const std::int64_t column = t.group * kTileColumns, c_row = task_groups_ * kTileColumns;
  const std::int64_t n = std::min(t.groups * kTileColumns, w_.n - column);
  const std::int64_t lines = ceil_div(x_.rows, x_.pitch);
  for (std::int64_t r = 0; r < t.rows; ++r, sums += c_row) {
    const std::int64_t line = (t.row + r) / x_.pitch, x = (t.row + r) % x_.pitch;
    if (x >= x_.columns) continue;
    const std::int64_t out = (t.segment * lines + line) * x_.columns + x;
    float* beside = up ? up + r * c_row : nullptr;
    if (up && epilogue_.up_bias) kernels_->add(beside, epilogue_.up_bias + column, n);
    finish_row(*kernels_, epilogue_, {out, column}, {sums, static_cast<std::size_t>(n)}, beside);
  }
}

const char* TileProduct::run(const Worker& w) noexcept {
  if (!epilogue_.gate.in_range({0, epilogue_.out.rows()})) {
    return "gate: an index is outside its table";
  }
  const std::int64_t across = ceil_div(w_.panels, task_groups_);
  const std::int64_t along = ceil_div(x_.rows, task_rows_);
  float* sums = sums_.of(w.index());
  tasks_.take(w, threads_, x_.segments * along * across, [&](std::int64_t i) {
    const std::int64_t row = i / across % along * task_rows_, group = i % across * task_groups_;
    const Task task{i / across / along, row, std::min(task_rows_, x_.rows - row), group,
                    std::min(task_groups_, w_.panels - group)};
    float* up = up_.n > 0 ? sums + task_sums_ : nullptr;
    compute(task, w_, sums);
    if (up) compute(task, up_, up);
    finish(task, sums, up);
  });
  return nullptr;
}

}  // namespace tendon::cpu
