#include "backends/cpu/tile_product.h"

#include <algorithm>
#include <numeric>

#include "backends/cpu/tiles.h"

namespace tendon::cpu {
namespace {

constexpr std::int64_t kTaskRows = 256;
constexpr std::int64_t kSumFloats = 1 << 15;  // of a task: 128 KB, a sixteenth of L2
constexpr std::int64_t kTasksOfThread = 4;
// Of K between two visits of a sum: 32 columns are 192 KB then, 256 rows 1.5 MB; both stay in L2.
constexpr std::int64_t kSliceDepth = 3072;
// What is left of K after whole passes visits every sum once more: little beside 16 passes.
constexpr std::int64_t kLeastRaggedRun = 512;
// Threads share rows where weights come from near caches: ops on the same rows need no meeting.
constexpr std::int64_t kLeastOwnRows = 4, kNearWeightBytes = 1 << 19;
constexpr std::int64_t kNearSumFloats = 1 << 13;
// Weights are asked for at so many places in turns: the processor then fetches ahead of each by
// itself, and 98 rows by weights from memory take a fifth less time than line after line. More
// places are no faster: docs/performance.md.
constexpr std::int64_t kAskedParts = 4, kLine = 64;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

std::int64_t round_up(std::int64_t a, std::int64_t b) { return ceil_div(a, b) * b; }

// Equal parts of at most `most`.
std::int64_t even(std::int64_t count, std::int64_t most) {
  return count > 0 ? ceil_div(count, ceil_div(count, most)) : 1;
}

// Rows of a block: two tiles, all tiles of one height. A last block of a few rows would cost a pass
// what a tile of them does.
std::int64_t block_of(std::int64_t rows) {
  const std::int64_t height = even(rows, kTileRows / 2);
  return rows > height ? 2 * height : height;
}

// One block alone is as fast as memory and asks for it as it lies.
void plan_asking(TileBlock& b, std::int64_t bytes, std::int64_t blocks, std::int64_t passes) {
  b.next_parts = blocks > 1 ? kAskedParts : 1;
  b.next_part = round_up(ceil_div(bytes, b.next_parts), kLine);
  b.next_bytes = round_up(ceil_div(b.next_part, blocks * passes), kLine);
}

}  // namespace

bool shares_own_rows(const Planner& planner, std::int64_t rows, std::int64_t weight_bytes) {
  return planner.threads() > 1 && rows >= kLeastOwnRows * planner.threads() &&
         weight_bytes <= kNearWeightBytes;
}

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

// Where a matrix' sums go, and what the thread will multiply by after it.
struct TileProduct::Place {
  float* sums = nullptr;
  const std::byte* next = nullptr;
};

TileProduct::TileProduct(Planner& planner, const TileRows& x, ProductSpec spec)
    : x_(x),
      plain_(spec.x),
      w_(spec.weight),
      up_(spec.up),
      epilogue_(std::move(spec.epilogue)),
      kernels_(&planner.kernels()),
      placer_(spec.placer),
      unit_(std::lcm(spec.unit, kTileColumns) / kTileColumns) {
  threads_ = planner.threads();
  const std::int64_t weight_bytes = w_.panels * w_.panel_bytes * (up_.n > 0 ? 2 : 1);
  own_rows_ = plain_ && shares_own_rows(planner, x_.rows, weight_bytes);
  plan_tasks();
  task_sums_ = task_rows_ * task_groups_ * kTileColumns;
  sums_ = planner.own_of<float>(task_sums_ * (up_.n > 0 ? 2 : 1));
}

void TileProduct::plan_tasks() {
  const std::int64_t whole = w_.k / x_.taps / kTileDepth * kTileDepth;
  slices_ = std::max<std::int64_t>(1, ceil_div(whole, kSliceDepth));
  const std::int64_t rows = own_rows_ ? ceil_div(x_.rows, threads_) : x_.rows;
  block_rows_ = block_of(rows);
  task_rows_ = block_rows_ * even(ceil_div(rows, block_rows_), kTaskRows / block_rows_);
  // Every task reads all slices of its rows: few rows leave room for more sums instead.
  const bool room = slices_ > 1 && 2 * task_rows_ <= kTaskRows;
  const std::int64_t floats = own_rows_ ? kNearSumFloats : room ? 2 * kSumFloats : kSumFloats;
  task_groups_ = std::clamp<std::int64_t>(floats / (task_rows_ * kTileColumns), 1, w_.panels);
  const std::int64_t wanted = threads_ * kTasksOfThread;
  const std::int64_t along = x_.segments * ceil_div(x_.rows, task_rows_);
  if (!own_rows_ && threads_ > 1 && along * ceil_div(w_.panels, task_groups_) < wanted) {
    task_groups_ = std::max<std::int64_t>(1, w_.panels / ceil_div(wanted, along));
  }
  const std::int64_t units = ceil_div(w_.panels, unit_);
  task_groups_ = unit_ * even(units, std::max<std::int64_t>(1, task_groups_ / unit_));
}

// Slice `index` of a run, the one past the last being what is left over whole passes.
Range TileProduct::slice(std::int64_t index) const {
  const std::int64_t run = w_.k / x_.taps, passes = run / kTileDepth;
  if (index == slices_) return {passes * kTileDepth, run};
  return {passes * index / slices_ * kTileDepth, passes * (index + 1) / slices_ * kTileDepth};
}

// Slices of K outside, so that the rows' part of one stays in L2 for all columns and the columns'
// part for all rows. While one part of the columns is multiplied by all rows, the next is
// asked for.
void TileProduct::compute(const Task& t, const PackedMatrix& w, const Place& at,
                          Tiles& tiles) const noexcept {
  const std::int64_t run = w.k / x_.taps, c_row = task_groups_ * kTileColumns;
  const std::int64_t blocks = ceil_div(t.rows, block_rows_);
  const std::byte* data = x_.data + t.segment * x_.segment_bytes + t.row * x_.row_bytes;
  for (std::int64_t tap = 0; tap < x_.taps; ++tap) {
    for (std::int64_t i = 0; i <= slices_; ++i) {
      const Range part = slice(i);
      const std::int64_t k = tap * run + part.begin, step = part.end - part.begin;
      if (step == 0) continue;
      const std::int64_t depth = std::min(kTileDepth, step), bytes = step * kTileColumns * 2;
      const std::int64_t passes = step / depth;
      TileBlock b{.a_row = x_.row_bytes, .k = step, .c_row = c_row};
      const std::byte* rows = data + tap * x_.tap_bytes + part.begin * 2;
      b.fresh = k == 0;
      plan_asking(b, bytes, blocks, passes);
      for (std::int64_t group = 0; group < t.groups; ++group) {
        b.b = w.data + (t.group + group) * w.panel_bytes + k * kTileColumns * 2;
        b.next = group + 1 < t.groups ? b.b + w.panel_bytes
                 : k + step < w.k     ? b.b + bytes - group * w.panel_bytes
                                      : at.next;
        std::int64_t asking = ceil_div(b.next_part, b.next_bytes);
        for (std::int64_t row = 0; row < t.rows; row += block_rows_) {
          b.a = rows + row * x_.row_bytes;
          b.c = at.sums + row * c_row + group * kTileColumns;
          tiles.set_shape(std::min(block_rows_, t.rows - row), depth);
          b.next_passes = std::clamp<std::int64_t>(asking, 0, passes);
          tiles.multiply(b);
          b.next += b.next_bytes * passes, asking -= passes;
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
    if (placer_) {
      if (epilogue_.bias) kernels_->add(sums, epilogue_.bias + column, n);
      placer_->place({out, column}, {sums, static_cast<std::size_t>(n)});
      continue;
    }
    float* beside = up ? up + r * c_row : nullptr;
    if (up && epilogue_.up_bias) kernels_->add(beside, epilogue_.up_bias + column, n);
    finish_row(*kernels_, epilogue_, {out, column}, {sums, static_cast<std::size_t>(n)}, beside);
  }
}

// `next` is the task after this one.
void TileProduct::run_task(const Task& t, const Task& next, Place at, Tiles& tiles) const noexcept {
  const std::byte* after = w_.data + next.group * w_.panel_bytes;
  float* up = up_.n > 0 ? at.sums + task_sums_ : nullptr;
  at.next = up ? up_.data + t.group * up_.panel_bytes : after;
  compute(t, w_, at, tiles);
  if (up) compute(t, up_, {up, after}, tiles);
  finish(t, at.sums, up);
}

void TileProduct::run_own_rows(const Worker& w) noexcept {
  const Range mine = share(x_.rows, w.index(), threads_);
  const Place at{.sums = sums_.of(w.index())};
  Tiles tiles;
  for (std::int64_t row = mine.begin; row < mine.end; row += task_rows_) {
    for (std::int64_t group = 0; group < w_.panels; group += task_groups_) {
      const Task task{0, row, std::min(task_rows_, mine.end - row), group,
                      std::min(task_groups_, w_.panels - group)};
      run_task(task, {.group = (group + task_groups_) % w_.panels}, at, tiles);
    }
  }
}

TileProduct::Task TileProduct::task(std::int64_t index) const {
  const std::int64_t across = ceil_div(w_.panels, task_groups_);
  const std::int64_t along = ceil_div(x_.rows, task_rows_);
  const std::int64_t row = index / across % along * task_rows_;
  const std::int64_t group = index % across * task_groups_;
  return {index / across / along, row, std::min(task_rows_, x_.rows - row), group,
          std::min(task_groups_, w_.panels - group)};
}

const char* TileProduct::run(const Worker& w) noexcept {
  if (!epilogue_.gate.in_range({0, epilogue_.out.rows()})) {
    return "gate: an index is outside its table";
  }
  if (own_rows_) {
    run_own_rows(w);
    return nullptr;
  }
  const std::int64_t count =
      x_.segments * ceil_div(x_.rows, task_rows_) * ceil_div(w_.panels, task_groups_);
  Tiles tiles;
  tasks_.take(w, threads_, count, [&](std::int64_t i, std::int64_t next) {
    run_task(task(i), task(next), {.sums = sums_.of(w.index())}, tiles);
  });
  return nullptr;
}

void TileProduct::touch(int thread, Footprint& f) const {
  if (!own_rows_) return;
  const Range mine = share(x_.rows, thread, threads_);
  f.reads(plain_, mine);
  epilogue_.touch(mine, f);
}

}  // namespace tendon::cpu
