#include <cmath>
#include <limits>

#include "backends/reference/planner.h"
#include "base/error.h"

namespace tendon::reference {
namespace {

struct Piece {
  View k, v, length, bias;
};

// The keys of one sample and key head that any query may see, both pieces together.
template <class A>
struct Keys {
  std::array<std::int64_t, 2> count{};
  std::vector<A> k;     // [Dh, n]
  std::vector<A> v;     // [n, Dh]
  std::vector<A> bias;  // [n]
  std::int64_t total() const { return count[0] + count[1]; }
};

struct AttentionStep {
  View q, score_bias, out;
  std::array<Piece, 2> pieces;
  std::vector<std::int32_t> visible;
  float scale;
  int threads;

  template <class A>
  void operator()(A) const {
    const std::int64_t key_heads = pieces[0].k.shape[2], group = q.shape[2] / key_heads;
    const std::int64_t queries = q.shape[1];
    for (std::int64_t b = 0; b < q.shape[0]; ++b) {
      for (std::int64_t head = 0; head < key_heads; ++head) {
        const Keys<A> keys = gather<A>(b, head);
        parallel_for(threads, group * queries, [&](std::int64_t i) {
          attend(keys, b, i % queries, head * group + i / queries);
        });
      }
    }
  }

  template <class A>
  Keys<A> gather(std::int64_t b, std::int64_t head) const {
    Keys<A> keys;
    for (std::size_t i = 0; i < 2; ++i) {
      if (!pieces[i].k) continue;
      const std::int64_t all = pieces[i].k.shape[1];
      keys.count[i] = pieces[i].length ? pieces[i].length.integer(b) : all;
      require(keys.count[i] >= 0 && keys.count[i] <= all,
              "attention: length {} of {} keys in sample {}", keys.count[i], all, b);
    }
    const std::int64_t n = keys.total(), width = q.width();
    keys.k.resize(static_cast<std::size_t>(n * width));
    keys.v.resize(keys.k.size());
    keys.bias.assign(static_cast<std::size_t>(n), A(0));
    std::vector<A> row(static_cast<std::size_t>(width));
    for (std::size_t i = 0; i < 2; ++i) {
      const Piece& piece = pieces[i];
      const std::int64_t first = i == 0 ? 0 : keys.count[0];
      for (std::int64_t j = 0; j < keys.count[i]; ++j) {
        const std::int64_t at = (b * piece.k.shape[1] + j) * piece.k.shape[2] + head;
        piece.k.load(at, 0, width, row.data());
        for (std::int64_t d = 0; d < width; ++d) keys.k[d * n + first + j] = row[d];
        piece.v.load(at, 0, width, keys.v.data() + (first + j) * width);
      }
      if (piece.bias) piece.bias.load(b, 0, keys.count[i], keys.bias.data() + first);
    }
    return keys;
  }

  // Keys that query s sees: the first `seen` of the concatenation.
  template <class A>
  std::int64_t seen(const Keys<A>& keys, std::int64_t s) const {
    if (visible.empty()) return keys.total();
    const std::size_t last = pieces[1].k ? 1 : 0;
    const std::int64_t limit = visible[static_cast<std::size_t>(s)];
    return keys.total() - keys.count[last] + std::min(limit, keys.count[last]);
  }

  template <class A>
  void attend(const Keys<A>& keys, std::int64_t b, std::int64_t s, std::int64_t h) const {
    const std::int64_t width = q.width(), n = keys.total(), some = seen(keys, s);
    const std::int64_t row = (b * q.shape[1] + s) * q.shape[2] + h;
    std::vector<A> query(static_cast<std::size_t>(width)), sum(query.size(), A(0));
    std::vector<A> p(static_cast<std::size_t>(some), A(0));
    q.load(row, 0, width, query.data());
    for (std::int64_t d = 0; d < width; ++d) {
      for (std::int64_t j = 0; j < some; ++j) p[j] += query[d] * keys.k[d * n + j];
    }
    for (std::int64_t j = 0; j < some; ++j) p[j] = A(scale) * p[j] + keys.bias[j];
    add_score_bias(s, h, std::min(some, keys.count[0]), p);
    softmax(p);
    for (std::int64_t j = 0; j < some; ++j) {
      for (std::int64_t d = 0; d < width; ++d) sum[d] += p[j] * keys.v[j * width + d];
    }
    out.store(row, 0, width, sum.data());
  }

  template <class A>
  void add_score_bias(std::int64_t s, std::int64_t h, std::int64_t count, std::vector<A>& p) const {
    if (!score_bias) return;
    std::vector<A> row(static_cast<std::size_t>(count));
    score_bias.load(h * q.shape[1] + s, 0, count, row.data());
    for (std::int64_t j = 0; j < count; ++j) p[j] += row[j];
  }

  template <class A>
  static void softmax(std::vector<A>& p) {
    A top = -std::numeric_limits<A>::infinity(), total = 0;
    for (A x : p) top = std::max(top, x);
    for (A& x : p) total += x = std::exp(x - top);
    for (A& x : p) x /= total;
  }
};

}  // namespace

void plan(Planner& p, const ops::Attention& op) {
  AttentionStep step{p.view(op.q), p.view(op.score_bias), p.view(op.out), {}, op.visible, op.scale,
                     p.threads()};
  for (std::size_t i = 0; i < 2; ++i) {
    const ops::Attention::Keys& keys = op.keys[i];
    step.pieces[i] = {p.view(keys.k), p.view(keys.v), p.view(keys.length), p.view(keys.bias)};
  }
  p.step(std::move(step));
}

}  // namespace tendon::reference
