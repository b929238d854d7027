// Tiles of queries against tiles of keys with a running softmax. The query heads that share a key
// head are rows of one problem, so that each widened tile of keys and values serves all of them.
#include "backends/cpu/attention_division.h"
#include "backends/cpu/planner.h"
#include "backends/cpu/tile_attend.h"

namespace tendon::cpu {
namespace {

constexpr std::int64_t kKeys = 64;  // a tile: 64 KB each of keys and values at Dh = 256, in L2
// Queries at once: enough that widening a tile is under 3% of the work on it (96), more where they
// are narrow, so that a task is no handful of microseconds.
constexpr std::int64_t kLaneFloats = 96 * 256, kMostLanes = 512;
// In tile registers products are cheap beside turning the values of a tile.
constexpr std::int64_t kTileLaneFloats = 384 * 256;
// Lanes of a share of the rows below which making keys ready for each would cost more than meeting
// threads does; a panel's where tile registers take few keys nearly as they lie.
constexpr std::int64_t kLeastLanes = 64, kFewKeyFloats = 1 << 14;

struct Piece {
  View k, v, bias;
  const std::int32_t* length = nullptr;
  std::int64_t keys(std::int64_t b) const { return length ? length[b] : k.shape()[1]; }
};

// State of a panel's lanes, and one thread's memory.
struct Work {
  int thread;
  float *q, *k, *v, *scores, *rows;
  const float** bias;
  std::int32_t* limit;
  AttentionPart state;
};

using Task = AttentionTask;

class Attention : public Step {
 public:
  Attention(Planner& planner, const ops::Attention& op);
  int phases() const override { return division_.key_parts > 1 ? 2 : 1; }
  const char* run(const Worker& worker) noexcept override;
  void touch(int thread, Footprint& f) const override;

 private:
  void make_work(Planner& planner);
  AttentionDivision division() const;
  void run_tasks(const Worker& worker) noexcept;
  Task task(std::int64_t group, int key_part) const;
  void attend(const Task& task, const Work& w, const AttentionPart& state) const noexcept;
  void finish(const Task& task, const Work& w) const noexcept;
  void attend_piece(const Task& task, std::size_t piece, AttentionTile tile,
                    const Work& w) const noexcept;
  void merge(std::int64_t group, std::int64_t panel, const Work& w) const noexcept;
  void load_queries(const Task& task, const Work& w) const noexcept;
  const std::byte* row_of(const View& v, const Task& task, std::int64_t key) const;
  void widen(const View& from, const Task& task, Range keys, float* to) const noexcept;
  void load_keys(const Task& task, const Piece& p, Range keys, const Work& w) const noexcept;
  bool limit(const Task& task, Range keys, const Work& w) const noexcept;
  void store_panel(const Task& task, std::int64_t panel, const AttentionPart& state,
                   const Work& w) const noexcept;
  std::int64_t head_of(const Task& t, std::int64_t row) const {
    return t.head * group_ + row % group_;
  }
  std::int64_t query_of(std::int64_t row) const { return row / group_; }
  // Row of q and out, taken as [B S H, Dh], of a lane.
  std::int64_t place(const Task& t, std::int64_t lane) const {
    const std::int64_t row = t.first + lane;
    return (t.b * q_.shape()[1] + query_of(row)) * q_.shape()[2] + head_of(t, row);
  }

  std::int64_t tiles_of(std::int64_t keys) const { return (keys + keys_ - 1) / keys_; }

  std::int64_t lane_bytes(const View& v) const;

  View q_, score_bias_, out_;
  std::array<Piece, 2> pieces_;
  std::size_t last_;  // the piece that `visible` restricts
  std::vector<std::int32_t> visible_;
  float scale_;
  const Kernels* kernels_;
  std::int64_t group_, width_, pitch_;
  std::int64_t keys_ = kKeys;  // of a tile
  std::int64_t sum_rows_;      // of a panel's sums: the head width, or more in tile registers
  bool in_tiles_;
  TileAttend tiles_;
  std::int64_t q_lane_, out_lane_;  // bytes between neighbouring lanes where that is one number
  AttentionDivision division_;
  std::vector<Work> work_;             // of each thread
  std::vector<AttentionPart> states_;  // of each task, where keys are split
  Tasks tasks_;
};

Attention::Attention(Planner& planner, const ops::Attention& op)
    : q_(planner.view(op.q)),
      score_bias_(planner.view(op.score_bias)),
      out_(planner.view(op.out)),
      last_(op.keys[1].k ? 1 : 0),
      visible_(op.visible),
      scale_(op.scale),
      kernels_(&planner.kernels()) {
  for (std::size_t i = 0; i <= last_; ++i) {
    pieces_[i] = {planner.view(op.keys[i].k), planner.view(op.keys[i].v),
                  planner.view(op.keys[i].bias), planner.integers(op.keys[i].length)};
  }
  width_ = sum_rows_ = q_.width();
  in_tiles_ = TileAttend::suits(planner, op);
  if (in_tiles_) keys_ = TileAttend::kKeys;
  pitch_ = (width_ + 15) / 16 * 16 + 16;  // rows of a tile in different sets of L1
  if (width_ == 16) pitch_ = 16;          // a line each: they are
  const std::int64_t key_heads = pieces_[0].k.shape()[2];
  group_ = q_.shape()[2] / key_heads;
  q_lane_ = lane_bytes(q_);
  out_lane_ = lane_bytes(out_);
  threads_ = planner.threads();
  division_ = division();
  make_work(planner);
  const std::int64_t lanes = division_.lanes, parts = division_.key_parts;
  const std::int64_t tasks = q_.shape()[0] * key_heads * division_.row_parts * parts;
  for (std::int64_t i = 0; i < (parts > 1 ? tasks : 0); ++i) {
    states_.push_back({planner.scratch_of<float>(lanes), planner.scratch_of<float>(lanes),
                       planner.scratch_of<float>(sum_rows_ * lanes)});
  }
}

std::int64_t Attention::lane_bytes(const View& v) const {
  const auto element = static_cast<std::int64_t>(size_of(v.dtype()));
  const std::int64_t heads = v.shape()[2], query = v.stride(1), head = v.stride(2);
  if (group_ == 1) return query * element;
  return group_ == heads && query == heads * head ? head * element : 0;
}

AttentionDivision Attention::division() const {
  const std::int64_t floats = in_tiles_ ? kTileLaneFloats : kLaneFloats;
  AttentionShape shape{.samples = q_.shape()[0],
                       .queries = q_.shape()[1],
                       .key_heads = pieces_[0].k.shape()[2],
                       .group = group_,
                       .columns = kernels_->panel_columns,
                       .most_lanes = std::clamp<std::int64_t>(floats / width_, 96, kMostLanes),
                       .least_lanes = kLeastLanes,
                       .threads = threads_};
  std::int64_t keys = 0;
  for (std::size_t i = 0; i <= last_; ++i) {
    keys += pieces_[i].k.shape()[1];
    shape.key_tiles += tiles_of(pieces_[i].k.shape()[1]);
  }
  if (in_tiles_ && keys * width_ <= kFewKeyFloats) shape.least_lanes = kernels_->panel_columns;
  return divide(shape);
}

void Attention::touch(int thread, Footprint& f) const {
  if (division_.shares.empty()) return;
  const std::int64_t heads = q_.shape()[2];
  for (const Task& t : division_.shares[static_cast<std::size_t>(thread)]) {
    const std::int64_t before = t.b * q_.shape()[1];
    const Range rows{(before + query_of(t.first)) * heads,
                     (before + query_of(t.first + t.rows - 1) + 1) * heads};
    f.reads(q_, rows);
    f.writes(out_, rows);
    for (const Piece& p : pieces_) {
      if (!p.k) continue;
      const std::int64_t keys = p.k.shape()[1] * p.k.shape()[2];
      f.reads(p.k, {t.b * keys, (t.b + 1) * keys});
      f.reads(p.v, {t.b * keys, (t.b + 1) * keys});
      if (p.bias) f.reads(p.bias);
      f.reads(p.length, static_cast<std::size_t>(q_.shape()[0]) * sizeof *p.length);
    }
    if (score_bias_) f.reads(score_bias_);
  }
}

void Attention::make_work(Planner& planner) {
  const std::int64_t columns = kernels_->panel_columns;
  if (in_tiles_) {
    tiles_ = TileAttend(planner, width_, division_.lanes);
    sum_rows_ = tiles_.deep();
  }
  const auto q = planner.own_of<float>(in_tiles_ ? 0 : width_ * division_.lanes);
  const auto k = planner.own_of<float>(in_tiles_ ? 0 : keys_ * pitch_);
  const auto v = planner.own_of<float>(in_tiles_ ? 0 : keys_ * pitch_);
  const auto scores = planner.own_of<float>(keys_ * columns);
  const auto rows = planner.own_of<float>(columns * pitch_);
  const auto bias = planner.own_of<const float*>(division_.lanes);
  const auto limit = planner.own_of<std::int32_t>(division_.lanes);
  const auto peak = planner.own_of<float>(division_.lanes);
  const auto total = planner.own_of<float>(division_.lanes);
  const auto sum = planner.own_of<float>(sum_rows_ * division_.lanes);
  for (int t = 0; t < threads_; ++t) {
    work_.push_back({t,
                     q.of(t),
                     k.of(t),
                     v.of(t),
                     scores.of(t),
                     rows.of(t),
                     bias.of(t),
                     limit.of(t),
                     {peak.of(t), total.of(t), sum.of(t)}});
  }
}

void Attention::load_queries(const Task& t, const Work& w) const noexcept {
  const std::int64_t columns = kernels_->panel_columns;
  for (std::int64_t panel = 0; panel < t.rows; panel += columns) {
    const std::int64_t count = std::min(columns, t.rows - panel);
    const std::int64_t step = q_lane_ > 0 ? count : 1;
    for (std::int64_t lane = 0; lane < count; lane += step) {
      kernels_->load_rows({q_.dtype(), q_.row(place(t, panel + lane)), q_lane_, step, width_,
                           pitch_, w.rows + lane * pitch_});
    }
    std::fill_n(w.rows + count * pitch_, (columns - count) * pitch_, 0.0f);
    if (in_tiles_) {
      tiles_.load_queries(w.thread, panel / columns, w.rows, pitch_);
      continue;
    }
    kernels_->to_lanes(w.rows, pitch_, width_, w.q + panel * width_);
    kernels_->scale(w.q + panel * width_, scale_, columns * width_);
  }
}

const std::byte* Attention::row_of(const View& v, const Task& t, std::int64_t key) const {
  const std::int64_t at = t.b * v.stride(0) + t.head * v.stride(2) + key * v.stride(1);
  return v.data() + at * static_cast<std::int64_t>(size_of(v.dtype()));
}

void Attention::widen(const View& from, const Task& t, Range keys, float* to) const noexcept {
  const auto element = static_cast<std::int64_t>(size_of(from.dtype()));
  kernels_->load_rows({from.dtype(), row_of(from, t, keys.begin), from.stride(1) * element,
                       keys.end - keys.begin, width_, pitch_, to});
}

void Attention::load_keys(const Task& t, const Piece& p, Range keys, const Work& w) const noexcept {
  if (!in_tiles_) {
    widen(p.k, t, keys, w.k);
    widen(p.v, t, keys, w.v);
    return;
  }
  tiles_.load_keys(w.thread, {.k = row_of(p.k, t, keys.begin),
                              .v = row_of(p.v, t, keys.begin),
                              .k_row = p.k.stride(1) * 2,
                              .v_row = p.v.stride(1) * 2,
                              .count = keys.end - keys.begin});
}

// Fills limit with what each lane sees of the keys of a tile; false where no lane sees any.
bool Attention::limit(const Task& t, Range keys, const Work& w) const noexcept {
  bool any = false;
  for (std::int64_t lane = 0; lane < division_.lanes; ++lane) {
    const std::int64_t row = t.first + std::min(lane, t.rows - 1);
    const std::int64_t seen = visible_[static_cast<std::size_t>(query_of(row))] - keys.begin;
    w.limit[lane] =
        static_cast<std::int32_t>(std::clamp<std::int64_t>(seen, 0, keys.end - keys.begin));
    any = any || w.limit[lane] > 0;
  }
  return any;
}

void Attention::attend_piece(const Task& t, std::size_t piece, AttentionTile tile,
                             const Work& w) const noexcept {
  const Piece& p = pieces_[piece];
  const std::int64_t count = p.keys(t.b);
  const bool biased = piece == 0 && score_bias_;
  const Range tiles = part(tiles_of(count), t.key_part, division_.key_parts);
  for (std::int64_t key = tiles.begin * keys_; key < std::min(count, tiles.end * keys_);
       key += keys_) {
    const Range keys{key, std::min(count, key + keys_)};
    tile.limit = nullptr;
    if (piece == last_ && !visible_.empty()) {
      if (!limit(t, keys, w)) continue;
      tile.limit = w.limit;
    }
    load_keys(t, p, keys, w);
    tile.keys = keys.end - key;
    tile.key_bias = p.bias ? reinterpret_cast<const float*>(p.bias.at(t.b, key)) : nullptr;
    tile.lane_bias = biased ? w.bias : nullptr;
    for (std::int64_t lane = 0; biased && lane < division_.lanes; ++lane) {
      const std::int64_t row = t.first + std::min(lane, t.rows - 1);
      const std::int64_t at = head_of(t, row) * score_bias_.shape()[1] + query_of(row);
      w.bias[lane] = reinterpret_cast<const float*>(score_bias_.at(at, key));
    }
    if (in_tiles_) {
      tiles_.attend(w.thread, tile, scale_);
    } else {
      kernels_->attend(tile);
    }
  }
}

void Attention::store_panel(const Task& t, std::int64_t panel, const AttentionPart& state,
                            const Work& w) const noexcept {
  const std::int64_t columns = kernels_->panel_columns;
  float* sum = state.sum + panel * sum_rows_;
  kernels_->divide_sums(sum, state.total + panel, width_);
  kernels_->from_lanes(sum, width_, pitch_, w.rows);
  const std::int64_t count = std::min(columns, t.rows - panel);
  const std::int64_t step = out_lane_ > 0 ? count : 1;
  for (std::int64_t i = 0; i < count; i += step) {
    kernels_->store_rows({out_.dtype(), w.rows + i * pitch_, pitch_, step, width_, out_lane_,
                          out_.row(place(t, panel + i))});
  }
}

void Attention::attend(const Task& t, const Work& w, const AttentionPart& state) const noexcept {
  load_queries(t, w);
  std::fill_n(state.sum, sum_rows_ * division_.lanes, 0.0f);
  std::fill_n(state.peak, division_.lanes, -__builtin_inff());
  std::fill_n(state.total, division_.lanes, 0.0f);
  const std::int64_t columns = kernels_->panel_columns;
  AttentionTile tile;
  tile.q = w.q;
  tile.k = w.k;
  tile.v = w.v;
  tile.k_row = tile.v_row = pitch_;
  tile.head_width = sum_rows_;
  tile.lanes = (t.rows + columns - 1) / columns * columns;
  tile.scores = w.scores;
  tile.peak = state.peak;
  tile.total = state.total;
  tile.sum = state.sum;
  for (std::size_t piece = 0; piece <= last_; ++piece) attend_piece(t, piece, tile, w);
}

void Attention::merge(std::int64_t group, std::int64_t panel, const Work& w) const noexcept {
  AttentionPart parts[kMostKeyParts];
  for (int i = 0; i < division_.key_parts; ++i) {
    const AttentionPart& s = states_[static_cast<std::size_t>(group * division_.key_parts + i)];
    parts[i] = {s.peak + panel, s.total + panel, s.sum + panel * sum_rows_};
  }
  kernels_->merge_parts(parts, division_.key_parts, sum_rows_);
  store_panel(task(group, 0), panel, states_[static_cast<std::size_t>(group * division_.key_parts)],
              w);
}

Task Attention::task(std::int64_t group, int key_part) const {
  const std::int64_t heads = pieces_[0].k.shape()[2], head = group / division_.row_parts;
  const std::int64_t rows = group_ * q_.shape()[1],
                     first = group % division_.row_parts * division_.lanes;
  return {head / heads, head % heads, first, std::min(division_.lanes, rows - first), key_part};
}

void Attention::finish(const Task& t, const Work& w) const noexcept {
  for (std::int64_t p = 0; p < t.rows; p += kernels_->panel_columns) store_panel(t, p, w.state, w);
}

const char* Attention::run(const Worker& worker) noexcept {
  for (std::size_t i = 0; i <= last_; ++i) {
    for (std::int64_t b = 0; b < q_.shape()[0]; ++b) {
      const std::int64_t n = pieces_[i].keys(b);
      if (n < 0 || n > pieces_[i].k.shape()[1]) return "length: more keys than there are";
    }
  }
  if (worker.index() >= threads_) return nullptr;
  if (division_.shares.empty()) {
    run_tasks(worker);
    return nullptr;
  }
  const auto thread = static_cast<std::size_t>(worker.index());
  for (const Task& t : division_.shares[thread]) {
    attend(t, work_[thread], work_[thread].state);
    finish(t, work_[thread]);
  }
  return nullptr;
}

void Attention::run_tasks(const Worker& worker) noexcept {
  const std::int64_t groups = q_.shape()[0] * pieces_[0].k.shape()[2] * division_.row_parts;
  const std::int64_t columns = kernels_->panel_columns;
  const Work& w = work_[static_cast<std::size_t>(worker.index())];
  if (worker.phase() == 1) {
    const std::int64_t panels = division_.lanes / columns;
    for (std::int64_t i = worker.index(); i < groups * panels; i += threads_) {
      const std::int64_t panel = i % panels * columns;
      if (panel < task(i / panels, 0).rows) merge(i / panels, panel, w);
    }
    return;
  }
  tasks_.take(worker, threads_, groups * division_.key_parts, [&](std::int64_t i) {
    const Task t = task(i / division_.key_parts, static_cast<int>(i % division_.key_parts));
    attend(t, w, division_.key_parts > 1 ? states_[static_cast<std::size_t>(i)] : w.state);
    if (division_.key_parts == 1) finish(t, w);
  });
}

}  // namespace

void plan(Planner& planner, const ops::Attention& op) {
  planner.add(std::make_unique<Attention>(planner, op));
}

}  // namespace tendon::cpu
