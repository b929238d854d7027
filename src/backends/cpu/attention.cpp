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

// One thread's memory.
struct Work {
  float *q, *k, *v, *scores, *sum, *peak, *total, *rows;
  const float** bias;
  std::int32_t* limit;
};

struct Task {
  std::int64_t b, head, first, rows;  // rows [first, first + rows) of the G * S of a key head
};

class Attention : public Step {
 public:
  Attention(Planner& planner, const ops::Attention& op);
  const char* run() noexcept override;

 private:
  Work make_work(Planner& planner) const;
  void attend(const Task& task, const Work& w) const noexcept;
  void attend_piece(const Task& task, std::size_t piece, AttentionTile tile,
                    const Work& w) const noexcept;
  void load_queries(const Task& task, const Work& w) const noexcept;
  void widen(const View& from, const Task& task, Range keys, float* to) const noexcept;
  bool limit(const Task& task, Range keys, const Work& w) const noexcept;
  void store(const Task& task, const Work& w) const noexcept;
  std::int64_t head_of(const Task& t, std::int64_t row) const {
    return t.head * group_ + row % group_;
  }
  std::int64_t query_of(std::int64_t row) const { return row / group_; }
  // Row of q and out, taken as [B S H, Dh], of a lane.
  std::int64_t place(const Task& t, std::int64_t lane) const {
    const std::int64_t row = t.first + lane;
    return (t.b * q_.shape()[1] + query_of(row)) * q_.shape()[2] + head_of(t, row);
  }

  View q_, score_bias_, out_;
  std::array<Piece, 2> pieces_;
  std::size_t last_;  // the piece that `visible` restricts
  std::vector<std::int32_t> visible_;
  float scale_;
  const Kernels* kernels_;
  int threads_;
  std::int64_t group_, width_, pitch_, lanes_;
  std::vector<Work> work_;
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
  const std::int64_t key_heads = pieces_[0].k.shape()[2];
  group_ = q_.shape()[2] / key_heads;
  threads_ = planner.threads(4.0 * static_cast<double>(q_.rows() * width_) * keys);
  const std::int64_t columns = kernels_->panel_columns;
  const std::int64_t panels = (group_ * q_.shape()[1] + columns - 1) / columns;
  const std::int64_t heads = q_.shape()[0] * key_heads;
  const std::int64_t most = std::clamp<std::int64_t>(kLaneFloats / width_, 96, kMostLanes);
  std::int64_t parts = std::max<std::int64_t>(1, (panels * columns + most - 1) / most);
  while (threads_ > 1 && heads * parts < 2 * threads_ && parts < panels) ++parts;
  lanes_ = (panels + parts - 1) / parts * columns;
  for (int t = 0; t < threads_; ++t) work_.push_back(make_work(planner));
}

Work Attention::make_work(Planner& planner) const {
  Work w;
  const std::int64_t columns = kernels_->panel_columns;
  w.q = planner.scratch_of<float>(width_ * lanes_);
  w.k = planner.scratch_of<float>(kKeys * pitch_);
  w.v = planner.scratch_of<float>(kKeys * pitch_);
  w.scores = planner.scratch_of<float>(kKeys * columns);
  w.sum = planner.scratch_of<float>(width_ * lanes_);
  w.peak = planner.scratch_of<float>(lanes_);
  w.total = planner.scratch_of<float>(lanes_);
  w.rows = planner.scratch_of<float>(columns * pitch_);
  w.bias = planner.scratch_of<const float*>(lanes_);
  w.limit = planner.scratch_of<std::int32_t>(lanes_);
  return w;
}

void Attention::load_queries(const Task& t, const Work& w) const noexcept {
  const std::int64_t columns = kernels_->panel_columns;
  for (std::int64_t panel = 0; panel < t.rows; panel += columns) {
    for (std::int64_t lane = 0; lane < columns; ++lane) {
      float* to = w.rows + lane * pitch_;
      if (panel + lane < t.rows) {
        kernels_->load(q_.dtype(), q_.row(place(t, panel + lane)), width_, to);
        kernels_->scale(to, scale_, width_);
      } else {
        std::fill_n(to, width_, 0.0f);
      }
    }
    kernels_->to_lanes(w.rows, pitch_, width_, w.q + panel * width_);
  }
}

void Attention::widen(const View& from, const Task& t, Range keys, float* to) const noexcept {
  const auto element = static_cast<std::int64_t>(size_of(from.dtype()));
  const std::byte* head = from.data() + (t.b * from.stride(0) + t.head * from.stride(2)) * element;
  for (std::int64_t key = keys.begin; key < keys.end; ++key, to += pitch_) {
    kernels_->load(from.dtype(), head + key * from.stride(1) * element, width_, to);
  }
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
  for (std::int64_t key = 0; key < count; key += kKeys) {
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

void Attention::store(const Task& t, const Work& w) const noexcept {
  const std::int64_t columns = kernels_->panel_columns;
  for (std::int64_t panel = 0; panel < t.rows; panel += columns) {
    kernels_->from_lanes(w.sum + panel * width_, width_, pitch_, w.rows);
    for (std::int64_t lane = panel; lane < std::min(t.rows, panel + columns); ++lane) {
      float* row = w.rows + (lane - panel) * pitch_;
      // A lane that saw a key has a weight of 1 among the others.
      kernels_->scale(row, w.total[lane] > 0.5f ? 1.0f / w.total[lane] : 0.0f, width_);
      kernels_->store(out_.dtype(), row, width_, out_.row(place(t, lane)));
    }
  }
}

void Attention::attend(const Task& t, const Work& w) const noexcept {
  load_queries(t, w);
  std::fill_n(w.sum, width_ * lanes_, 0.0f);
  std::fill_n(w.peak, lanes_, -__builtin_inff());
  std::fill_n(w.total, lanes_, 0.0f);
  AttentionTile tile;
  tile.q = w.q;
  tile.k = w.k;
  tile.v = w.v;
  tile.k_row = tile.v_row = pitch_;
  tile.head_width = width_;
  tile.lanes =
      (t.rows + kernels_->panel_columns - 1) / kernels_->panel_columns * kernels_->panel_columns;
  tile.scores = w.scores;
  tile.peak = w.peak;
  tile.total = w.total;
  tile.sum = w.sum;
  for (std::size_t piece = 0; piece <= last_; ++piece) attend_piece(t, piece, tile, w);
  store(t, w);
}

const char* Attention::run() noexcept {
  for (std::size_t i = 0; i <= last_; ++i) {
    for (std::int64_t b = 0; b < q_.shape()[0]; ++b) {
      const std::int64_t n = pieces_[i].keys(b);
      if (n < 0 || n > pieces_[i].k.shape()[1]) return "length: more keys than there are";
    }
  }
  const std::int64_t rows = group_ * q_.shape()[1], parts = (rows + lanes_ - 1) / lanes_;
  const std::int64_t heads = pieces_[0].k.shape()[2], tasks = q_.shape()[0] * heads * parts;
  next_.store(0, std::memory_order_relaxed);
  on_threads(threads_, [&](int thread, int) {
    for (;;) {
      const std::int64_t i = next_.fetch_add(1, std::memory_order_relaxed);
      if (i >= tasks) break;
      const std::int64_t first = i % parts * lanes_, head = i / parts;
      attend({head / heads, head % heads, first, std::min(lanes_, rows - first)},
             work_[static_cast<std::size_t>(thread)]);
    }
  });
  return nullptr;
}

}  // namespace

void plan(Planner& planner, const ops::Attention& op) {
  planner.add(std::make_unique<Attention>(planner, op));
}

}  // namespace tendon::cpu
