// Tiles of queries against tiles of keys with a running softmax. The query heads that share a key
// head are rows of one problem, so that each widened tile of keys and values serves all of them.
#include <atomic>

#include "backends/cpu/planner.h"

namespace tendon::cpu {
namespace {

constexpr std::int64_t kKeys = 64;  // a tile: 64 KB each of keys and values at Dh = 256, in L2
// Queries at once: enough that widening a tile is under 3% of the work on it (96), more where they
// are narrow, so that a task is no handful of microseconds.
constexpr std::int64_t kLaneFloats = 96 * 256, kMostLanes = 512;

struct Piece {
  View k, v, bias;
  const std::int32_t* length = nullptr;
  std::int64_t keys(std::int64_t b) const { return length ? length[b] : k.shape()[1]; }
};

constexpr std::int64_t kMostColumns = 32;  // of a panel

// Splitting the keys of a task further gains nothing: it is under 10 us of work, or many threads.
constexpr int kMostKeyParts = 16;

// One thread's memory.
struct Work {
  float *q, *k, *v, *scores, *rows;
  const float** bias;
  std::int32_t* limit;
};

std::int64_t tiles_of(std::int64_t keys) { return (keys + kKeys - 1) / kKeys; }

struct Task {
  std::int64_t b, head, first, rows;  // rows [first, first + rows) of the G * S of a key head
  int key_part;                       // of key_parts_
};

class Attention : public Step {
 public:
  Attention(Planner& planner, const ops::Attention& op);
  const char* run() noexcept override;

 private:
  Work make_work(Planner& planner) const;
  void split_work(std::int64_t heads);
  Task task(std::int64_t group, int key_part) const;
  void attend(const Task& task, const Work& w, const AttentionPart& state) const noexcept;
  void attend_piece(const Task& task, std::size_t piece, AttentionTile tile,
                    const Work& w) const noexcept;
  void merge(std::int64_t group, std::int64_t panel, const Work& w) const noexcept;
  void load_queries(const Task& task, const Work& w) const noexcept;
  void widen(const View& from, const Task& task, Range keys, float* to) const noexcept;
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

  bool together(const View& v) const { return v.dense() && group_ == v.shape()[2]; }

  View q_, score_bias_, out_;
  std::array<Piece, 2> pieces_;
  std::size_t last_;  // the piece that `visible` restricts
  std::vector<std::int32_t> visible_;
  float scale_;
  const Kernels* kernels_;
  int threads_;
  std::int64_t group_, width_, pitch_, lanes_;
  bool q_together_, out_together_;  // neighbouring lanes are neighbouring rows
  std::int64_t row_parts_ = 1;      // of the queries of a key head
  int key_parts_ = 1;
  std::vector<Work> work_;             // of each thread
  std::vector<AttentionPart> states_;  // of each thread; of each task where keys are split
  std::atomic<std::int64_t> next_{0};
};

Attention::Attention(Planner& planner, const ops::Attention& op)
    : q_(planner.view(op.q)),
      score_bias_(planner.view(op.score_bias)),
      out_(planner.view(op.out)),
      last_(op.keys[1].k ? 1 : 0),
      visible_(op.visible),
      scale_(op.scale),
      kernels_(&planner.kernels()) {
  double keys = 0;
  for (std::size_t i = 0; i <= last_; ++i) {
    pieces_[i] = {planner.view(op.keys[i].k), planner.view(op.keys[i].v),
                  planner.view(op.keys[i].bias), planner.integers(op.keys[i].length)};
    keys += static_cast<double>(pieces_[i].k.shape()[1]);
  }
  width_ = q_.width();
  pitch_ = (width_ + 15) / 16 * 16 + 16;  // rows of a tile in different sets of L1
  if (width_ == 16) pitch_ = 16;          // a line each: they are
  const std::int64_t key_heads = pieces_[0].k.shape()[2];
  group_ = q_.shape()[2] / key_heads;
  q_together_ = pitch_ == width_ && together(q_);
  out_together_ = pitch_ == width_ && together(out_);
  threads_ = planner.threads(4.0 * static_cast<double>(q_.rows() * width_) * keys);
  split_work(q_.shape()[0] * key_heads);
  const std::int64_t tasks = q_.shape()[0] * key_heads * row_parts_ * key_parts_;
  for (int t = 0; t < threads_; ++t) work_.push_back(make_work(planner));
  for (std::int64_t i = 0; i < (key_parts_ > 1 ? tasks : threads_); ++i) {
    states_.push_back({planner.scratch_of<float>(lanes_), planner.scratch_of<float>(lanes_),
                       planner.scratch_of<float>(width_ * lanes_)});
  }
}

// Queries first, in parts of 64 and more; keys too where that leaves threads idle (a few action
// tokens on one key head).
void Attention::split_work(std::int64_t heads) {
  const std::int64_t columns = kernels_->panel_columns;
  const std::int64_t panels = (group_ * q_.shape()[1] + columns - 1) / columns;
  const std::int64_t most = std::clamp<std::int64_t>(kLaneFloats / width_, 96, kMostLanes);
  row_parts_ = std::max<std::int64_t>(1, (panels * columns + most - 1) / most);
  while (heads * row_parts_ < threads_ && panels / (row_parts_ + 1) * columns >= 64) ++row_parts_;
  lanes_ = (panels + row_parts_ - 1) / row_parts_ * columns;
  row_parts_ = (panels * columns + lanes_ - 1) / lanes_;
  const std::int64_t groups = heads * row_parts_;
  const bool balanced = groups % threads_ == 0 && panels % row_parts_ == 0;
  if (balanced || groups >= 2 * threads_) return;
  std::int64_t tiles = 0;
  for (std::size_t i = 0; i <= last_; ++i) tiles += tiles_of(pieces_[i].k.shape()[1]);
  const std::int64_t wanted = (4 * threads_ + groups - 1) / groups;
  key_parts_ = static_cast<int>(std::min<std::int64_t>({wanted, tiles, kMostKeyParts}));
}

Work Attention::make_work(Planner& planner) const {
  Work w;
  const std::int64_t columns = kernels_->panel_columns;
  w.q = planner.scratch_of<float>(width_ * lanes_);
  w.k = planner.scratch_of<float>(kKeys * pitch_);
  w.v = planner.scratch_of<float>(kKeys * pitch_);
  w.scores = planner.scratch_of<float>(kKeys * columns);
  w.rows = planner.scratch_of<float>(columns * pitch_);
  w.bias = planner.scratch_of<const float*>(lanes_);
  w.limit = planner.scratch_of<std::int32_t>(lanes_);
  return w;
}

void Attention::load_queries(const Task& t, const Work& w) const noexcept {
  const std::int64_t columns = kernels_->panel_columns;
  for (std::int64_t panel = 0; panel < t.rows; panel += columns) {
    const std::int64_t count = std::min(columns, t.rows - panel);
    if (q_together_) {
      kernels_->load(q_.dtype(), q_.row(place(t, panel)), count * width_, w.rows);
    } else {
      for (std::int64_t lane = 0; lane < count; ++lane) {
        kernels_->load(q_.dtype(), q_.row(place(t, panel + lane)), width_, w.rows + lane * pitch_);
      }
    }
    std::fill_n(w.rows + count * pitch_, (columns - count) * pitch_, 0.0f);
    kernels_->to_lanes(w.rows, pitch_, width_, w.q + panel * width_);
    kernels_->scale(w.q + panel * width_, scale_, columns * width_);
  }
}

void Attention::widen(const View& from, const Task& t, Range keys, float* to) const noexcept {
  const auto element = static_cast<std::int64_t>(size_of(from.dtype()));
  const std::int64_t at =
      t.b * from.stride(0) + t.head * from.stride(2) + keys.begin * from.stride(1);
  kernels_->load_rows({from.dtype(), from.data() + at * element, from.stride(1) * element,
                       keys.end - keys.begin, width_, pitch_, to});
}

// Fills limit with what each lane sees of the keys of a tile; false where no lane sees any.
bool Attention::limit(const Task& t, Range keys, const Work& w) const noexcept {
  bool any = false;
  for (std::int64_t lane = 0; lane < lanes_; ++lane) {
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
  const Range tiles = part(tiles_of(count), t.key_part, key_parts_);
  for (std::int64_t key = tiles.begin * kKeys; key < std::min(count, tiles.end * kKeys);
       key += kKeys) {
    const Range keys{key, std::min(count, key + kKeys)};
    tile.limit = nullptr;
    if (piece == last_ && !visible_.empty()) {
      if (!limit(t, keys, w)) continue;
      tile.limit = w.limit;
    }
    widen(p.k, t, keys, w.k);
    widen(p.v, t, keys, w.v);
    tile.keys = keys.end - key;
    tile.key_bias = p.bias ? reinterpret_cast<const float*>(p.bias.at(t.b, key)) : nullptr;
    tile.lane_bias = biased ? w.bias : nullptr;
    for (std::int64_t lane = 0; biased && lane < lanes_; ++lane) {
      const std::int64_t row = t.first + std::min(lane, t.rows - 1);
      const std::int64_t at = head_of(t, row) * score_bias_.shape()[1] + query_of(row);
      w.bias[lane] = reinterpret_cast<const float*>(score_bias_.at(at, key));
    }
    kernels_->attend(tile);
  }
}

void Attention::store_panel(const Task& t, std::int64_t panel, const AttentionPart& state,
                            const Work& w) const noexcept {
  const std::int64_t columns = kernels_->panel_columns;
  float* sum = state.sum + panel * width_;
  float share[kMostColumns];
  for (std::int64_t i = 0; i < columns; ++i) {
    // A lane that saw a key has a weight of 1 among the others.
    const float total = state.total[panel + i];
    share[i] = total > 0.5f ? 1.0f / total : 0.0f;
  }
  for (std::int64_t d = 0; d < width_; ++d) {
    for (std::int64_t i = 0; i < columns; ++i) sum[d * columns + i] *= share[i];
  }
  kernels_->from_lanes(sum, width_, pitch_, w.rows);
  const std::int64_t count = std::min(columns, t.rows - panel);
  if (out_together_) {
    kernels_->store(out_.dtype(), w.rows, count * width_, out_.row(place(t, panel)));
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    kernels_->store(out_.dtype(), w.rows + i * pitch_, width_, out_.row(place(t, panel + i)));
  }
}

void Attention::attend(const Task& t, const Work& w, const AttentionPart& state) const noexcept {
  load_queries(t, w);
  std::fill_n(state.sum, width_ * lanes_, 0.0f);
  std::fill_n(state.peak, lanes_, -__builtin_inff());
  std::fill_n(state.total, lanes_, 0.0f);
  const std::int64_t columns = kernels_->panel_columns;
  AttentionTile tile;
  tile.q = w.q;
  tile.k = w.k;
  tile.v = w.v;
  tile.k_row = tile.v_row = pitch_;
  tile.head_width = width_;
  tile.lanes = (t.rows + columns - 1) / columns * columns;
  tile.scores = w.scores;
  tile.peak = state.peak;
  tile.total = state.total;
  tile.sum = state.sum;
  for (std::size_t piece = 0; piece <= last_; ++piece) attend_piece(t, piece, tile, w);
}

void Attention::merge(std::int64_t group, std::int64_t panel, const Work& w) const noexcept {
  AttentionPart parts[kMostKeyParts];
  for (int i = 0; i < key_parts_; ++i) {
    const AttentionPart& s = states_[static_cast<std::size_t>(group * key_parts_ + i)];
    parts[i] = {s.peak + panel, s.total + panel, s.sum + panel * width_};
  }
  kernels_->merge_parts(parts, key_parts_, width_);
  store_panel(task(group, 0), panel, states_[static_cast<std::size_t>(group * key_parts_)], w);
}

Task Attention::task(std::int64_t group, int key_part) const {
  const std::int64_t heads = pieces_[0].k.shape()[2], head = group / row_parts_;
  const std::int64_t rows = group_ * q_.shape()[1], first = group % row_parts_ * lanes_;
  return {head / heads, head % heads, first, std::min(lanes_, rows - first), key_part};
}

const char* Attention::run() noexcept {
  for (std::size_t i = 0; i <= last_; ++i) {
    for (std::int64_t b = 0; b < q_.shape()[0]; ++b) {
      const std::int64_t n = pieces_[i].keys(b);
      if (n < 0 || n > pieces_[i].k.shape()[1]) return "length: more keys than there are";
    }
  }
  const std::int64_t groups = q_.shape()[0] * pieces_[0].k.shape()[2] * row_parts_;
  const std::int64_t columns = kernels_->panel_columns;
  next_.store(0, std::memory_order_relaxed);
  on_threads(threads_, [&](int thread, int threads) {
    const Work& w = work_[static_cast<std::size_t>(thread)];
    for (;;) {
      const std::int64_t i = next_.fetch_add(1, std::memory_order_relaxed);
      if (i >= groups * key_parts_) break;
      const Task t = task(i / key_parts_, static_cast<int>(i % key_parts_));
      const AttentionPart& state = states_[static_cast<std::size_t>(key_parts_ > 1 ? i : thread)];
      attend(t, w, state);
      for (std::int64_t p = 0; key_parts_ == 1 && p < t.rows; p += columns) {
        store_panel(t, p, state, w);
      }
    }
    if (key_parts_ == 1) return;
    meet(threads);
    const std::int64_t panels = lanes_ / columns;
    for (std::int64_t i = thread; i < groups * panels; i += threads) {
      const std::int64_t panel = i % panels * columns;
      if (panel < task(i / panels, 0).rows) merge(i / panels, panel, w);
    }
  });
  return nullptr;
}

}  // namespace

void plan(Planner& planner, const ops::Attention& op) {
  planner.add(std::make_unique<Attention>(planner, op));
}

}  // namespace tendon::cpu
