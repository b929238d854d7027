#include "backends/cpu/product.h"

namespace tendon::cpu {
namespace {

constexpr std::int64_t kPackedFloats = 6
                                       << 20;  // of x packed at once: 24 MB, what a large L3 keeps
// Windows of a convolution repeat each pixel nine times: where they outgrow the shared caches and
// the weights do not, a thread packs a few rows into its L2 (256 KB) and is done with them at once.
// 160 channels of 112 x 224 on two Zen 3 cores: 110 GFLOP/s packed together, 171 so.
constexpr std::int64_t kOwnFloats = 1 << 16, kOwnWeightBytes = 4 << 20, kLeastOwnRows = 16;
constexpr std::int64_t kSharedFloats = 1 << 20;
// Where every thread has rows enough to fill the registers and the weights come from near caches,
// threads share rows, and chains of ops on the same rows need no meeting.
constexpr std::int64_t kLeastRows = 4, kNearWeightBytes = 1 << 19;
constexpr std::int64_t kTaskColumns = 128;  // 128 columns x 512 of K: 128 KB of bf16, in L2
constexpr std::int64_t kTaskRows = 512;
// Up to here transposing x costs more than reading its rows side by side: few rows, or rows that
// lie close together in the caches.
constexpr std::int64_t kRowsAsTheyAre = 24, kShortRows = 1024, kShortRowsFloats = 1 << 18;
// Of a task: 2.5 us, so that taking it and calling the kernels is little beside it.
constexpr std::int64_t kTaskWork = 250'000;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Equal parts of at most `most`.
std::int64_t even(std::int64_t count, std::int64_t most) {
  return count > 0 ? ceil_div(count, ceil_div(count, most)) : 1;
}

}  // namespace

void finish_row(const Kernels& k, const Epilogue& e, const RowPlace& at, std::span<const float> c,
                const float* up) noexcept {
  FinishRow row{
      .x = c.data(), .width = static_cast<std::int64_t>(c.size()), .up = up, .act = e.act};
  if (e.bias) row.bias = e.bias + at.column;
  if (e.gate) row.gate = e.gate.row(at.row) + at.column;
  if (e.residual) {
    row.residual_type = e.residual.dtype();
    row.residual = e.residual.at(at.row, at.column);
  }
  row.out_type = e.out.dtype();
  row.out = e.out.at(at.row, at.column);
  k.finish(row);
}

struct Product::Task {
  const float* packed;             // of the block that begins at `first`
  std::int64_t first, from, rows;  // rows [first + from, ... + rows)
  std::int64_t panel, panels;
};

Product::Product(Planner& planner, ProductSpec spec)
    : s_(std::move(spec)), kernels_(&planner.kernels()) {
  const std::int64_t m = s_.rows, k = s_.weight.k;
  const std::int64_t sides = s_.up.n ? 2 : 1;
  threads_ = planner.threads();
  const bool near = m <= kRowsAsTheyAre || (k <= kShortRows && m * k <= kShortRowsFloats);
  reads_ = s_.source || !near                                    ? Reads::groups
           : s_.x.dtype() == DType::f32 && s_.x.row_bytes() != 0 ? Reads::in_place
                                                                 : Reads::rows;
  a_row_ = reads_ == Reads::in_place ? s_.x.row_bytes() / 4 : reads_ == Reads::rows ? k + 16 : 0;
  plan_blocks();
  const std::int64_t packed = reads_ == Reads::in_place ? 0 : block_rows_ * std::max(k, a_row_);
  if (sharing_ == Sharing::together) {
    packed_ = planner.scratch_of<float>(packed);
  } else {
    own_packed_ = planner.own_of<float>(packed);
  }
  tiles_ = planner.own_of<float>(task_rows_ * task_panels_ * kernels_->panel_columns * sides);
}

void Product::plan_blocks() {
  const std::int64_t m = s_.rows, k = s_.weight.k, panels = s_.weight.panels;
  const std::int64_t most = kTaskColumns / kernels_->panel_columns;
  const std::int64_t weight_bytes = panels * s_.weight.panel_bytes * (s_.up.n ? 2 : 1);
  if (threads_ > 1 && m >= kLeastRows * threads_ && weight_bytes <= kNearWeightBytes) {
    sharing_ = Sharing::own_rows;
  } else if (reads_ == Reads::groups && m * k > kSharedFloats && k * kLeastOwnRows <= kOwnFloats &&
             panels * s_.weight.panel_bytes <= kOwnWeightBytes) {
    sharing_ = Sharing::own_blocks;
  }
  const bool own = sharing_ != Sharing::together;
  const std::int64_t most_rows = sharing_ == Sharing::own_rows ? ceil_div(m, threads_) : m;
  group_ = std::max<std::int64_t>(1, even(most_rows, kernels_->rows(s_.weight.type)));
  block_rows_ = most_rows;
  if (own || reads_ == Reads::groups) {
    const std::int64_t floats = own ? kOwnFloats : kPackedFloats;
    block_rows_ = even(most_rows, std::max(group_, floats / k / group_ * group_));
  }
  block_rows_ = ceil_div(block_rows_, group_) * group_;
  if (own || threads_ == 1) {
    task_panels_ = even(panels, most);
    task_rows_ = own ? block_rows_ : std::min(block_rows_, kTaskRows);
  } else {
    const std::int64_t work = 2 * m * k * panels * kernels_->panel_columns;
    const std::int64_t wanted = std::clamp<std::int64_t>(work / kTaskWork, threads_, 4 * threads_);
    task_panels_ = std::min(most, std::max<std::int64_t>(1, panels / wanted));
    const std::int64_t across = ceil_div(panels, task_panels_);
    task_rows_ = std::min(block_rows_, kTaskRows);
    if (across < wanted) {
      task_rows_ = std::min(task_rows_, ceil_div(block_rows_, ceil_div(wanted, across)));
    }
  }
  task_rows_ = ceil_div(task_rows_, group_) * group_;
}

void Product::pack_group(std::int64_t first, std::int64_t count, float* to) const noexcept {
  const std::int64_t k = s_.weight.k;
  if (reads_ == Reads::rows) {
    for (std::int64_t r = 0; r < count; ++r) {
      kernels_->load(s_.x.dtype(), s_.x.row(first + r), k, to + r * a_row_);
    }
  } else if (s_.source) {
    s_.source->pack(first, count, group_, to);
  } else if (s_.x.row_bytes()) {
    kernels_->pack_group({s_.x.dtype(), s_.x.row(first), s_.x.row_bytes(), count, k, group_, to});
  } else {
    for (std::int64_t r = 0; r < count; ++r) {
      kernels_->pack_group({s_.x.dtype(), s_.x.row(first + r), 0, 1, k, group_, to + r});
    }
  }
}

void Product::pack(std::int64_t first, std::int64_t rows, Range groups, float* to) const noexcept {
  const std::int64_t floats = std::max(s_.weight.k, a_row_);
  for (std::int64_t g = groups.begin; g < groups.end; ++g) {
    const std::int64_t at = g * group_;
    pack_group(first + at, std::min(group_, rows - at), to + at * floats);
  }
}

void Product::multiply(const Task& t, const PackedMatrix& w, float* c) const noexcept {
  ProductTile tile;
  tile.a_row = a_row_;
  tile.a = reads_ == Reads::in_place ? reinterpret_cast<const float*>(s_.x.row(t.first + t.from))
                                     : t.packed + t.from * std::max(w.k, a_row_);
  tile.group = group_;
  tile.rows = t.rows;
  tile.k = w.k;
  tile.b = w.data + t.panel * w.panel_bytes;
  tile.panels = t.panels;
  tile.panel_bytes = w.panel_bytes;
  tile.type = w.type;
  tile.c = c;
  tile.c_row = task_panels_ * kernels_->panel_columns;
  kernels_->multiply_tile(tile);
}

void Product::compute(const Task& t, float* tile) const noexcept {
  const std::int64_t columns = task_panels_ * kernels_->panel_columns;
  const std::int64_t from = t.panel * kernels_->panel_columns;
  const std::int64_t n = std::min(t.panels * kernels_->panel_columns, s_.weight.n - from);
  float* up = s_.up.n ? tile + task_rows_ * columns : nullptr;
  multiply(t, s_.weight, tile);
  if (up) multiply(t, s_.up, up);
  for (std::int64_t r = 0; r < t.rows; ++r, tile += columns) {
    if (up && s_.epilogue.up_bias) kernels_->add(up, s_.epilogue.up_bias + from, n);
    finish_row(*kernels_, s_.epilogue, {t.first + t.from + r, from},
               {tile, static_cast<std::size_t>(n)}, up);
    if (up) up += columns;
  }
}

bool Product::packs_together() const {
  return sharing_ == Sharing::together && reads_ != Reads::in_place;
}

int Product::phases() const {
  if (sharing_ != Sharing::together) return 1;
  const auto blocks = static_cast<int>(ceil_div(s_.rows, block_rows_));
  return std::max(1, packs_together() ? 2 * blocks : blocks);
}

// Of a block of rows: its packing, where it is packed, and its product.
void Product::run_phase(const Worker& w) noexcept {
  const int each = packs_together() ? 2 : 1;
  const std::int64_t first = w.phase() / each * block_rows_;
  const std::int64_t rows = std::min(block_rows_, s_.rows - first);
  if (w.index() >= threads_ || rows <= 0) return;
  if (each == 2 && w.phase() % 2 == 0) {
    pack(first, rows, part(ceil_div(rows, group_), w.index(), threads_), packed_);
    return;
  }
  const std::int64_t across = ceil_div(s_.weight.panels, task_panels_);
  float* tile = tiles_.of(w.index());
  tasks_.take(w, threads_, across * ceil_div(rows, task_rows_), [&](std::int64_t i) {
    const std::int64_t from = i / across * task_rows_, panel = i % across * task_panels_;
    compute({packed_, first, from, std::min(task_rows_, rows - from), panel,
             std::min(task_panels_, s_.weight.panels - panel)},
            tile);
  });
}

void Product::run_own_block(Range rows, int thread) noexcept {
  const std::int64_t count = rows.end - rows.begin, panels = s_.weight.panels;
  float* packed = own_packed_.of(thread);
  if (reads_ != Reads::in_place) pack(rows.begin, count, {0, ceil_div(count, group_)}, packed);
  for (std::int64_t panel = 0; panel < panels; panel += task_panels_) {
    compute({packed, rows.begin, 0, count, panel, std::min(task_panels_, panels - panel)},
            tiles_.of(thread));
  }
}

const char* Product::run(const Worker& w) noexcept {
  if (!s_.epilogue.gate.in_range({0, s_.rows})) return "gate: an index is outside its table";
  if (sharing_ == Sharing::own_rows) {
    const Range mine = share(s_.rows, w.index(), threads_);
    for (std::int64_t first = mine.begin; first < mine.end; first += block_rows_) {
      run_own_block({first, std::min(mine.end, first + block_rows_)}, w.index());
    }
  } else if (sharing_ == Sharing::own_blocks) {
    tasks_.take(w, threads_, ceil_div(s_.rows, block_rows_), [&](std::int64_t block) {
      const std::int64_t first = block * block_rows_;
      run_own_block({first, std::min(s_.rows, first + block_rows_)}, w.index());
    });
  } else {
    run_phase(w);
  }
  return nullptr;
}

void Product::touch(int thread, Footprint& f) const {
  if (sharing_ != Sharing::own_rows || s_.source) return;
  const Range mine = share(s_.rows, thread, threads_);
  f.reads(s_.x, mine);
  s_.epilogue.touch(mine, f);
}

void Epilogue::touch(Range rows, Footprint& f) const {
  f.reads(gate, {0, out.rows()});
  f.reads(residual, rows);
  f.writes(out, rows);
}

}  // namespace tendon::cpu
