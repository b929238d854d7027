#include "backends/cpu/linear.h"
#include "backends/cpu/rope.h"
#include "backends/cpu/tile_product.h"

namespace tendon::cpu {
namespace {

// q, k or v: columns [first, first + width) of the product.
struct Branch {
  View out;  // [B, S, heads, Dh]; empty: not wanted
  std::int64_t first = 0, heads = 0;
  const float* norm = nullptr;
  bool rotated = false;
};

// Rows of a product to q, k and v: normed, rotated, stored.
class Heads : public RowPlacer {
 public:
  Heads(Planner& planner, const ops::QkvRope& op)
      : rotation_(planner, op.cos, op.sin, op.positions),
        eps_(op.eps),
        kernels_(&planner.kernels()) {
    rotation_.style = op.style;
    std::int64_t first = 0;
    const auto branch = [&](Value out, WeightRef norm, Branch b) {
      if (out) {
        b.out = planner.view(out);
        b.first = first;
        b.heads = b.out.shape()[2];
        b.norm = planner.weights().vector(norm);
        first += b.heads * b.out.width();
      }
      return b;
    };
    branches_ = {branch(op.q, op.norm_q, {.rotated = true}),
                 branch(op.k, op.norm_k, {.rotated = true}), branch(op.v, {}, {})};
  }

  const Rotation& rotation() const { return rotation_; }

  // Whole heads, or, where q or k is normed, the whole row.
  void place(const RowPlace& at, std::span<float> row) const noexcept override {
    const std::int64_t row_end = at.column + static_cast<std::int64_t>(row.size());
    for (const Branch& b : branches_) {
      if (!b.out) continue;
      const std::int64_t width = b.out.width(), begin = std::max(at.column, b.first);
      const std::int64_t end = std::min(row_end, b.first + b.heads * width);
      if (begin >= end) continue;
      float* x = row.data() + begin - at.column;
      if (b.norm) {
        kernels_->normalise({.x = x, .width = end - begin, .weight = b.norm, .eps = eps_});
      }
      std::int64_t head = at.row * b.heads + (begin - b.first) / width;
      for (std::int64_t c = begin; c < end; c += width, x += width, ++head) {
        if (b.rotated && rotation_) rotation_.apply(*kernels_, at.row, x);
        kernels_->store(b.out.dtype(), x, width, b.out.row(head));
      }
    }
  }

  void touch(Range rows, Footprint& f) const {
    rotation_.touch(f);
    for (const Branch& b : branches_) f.writes(b.out, {rows.begin * b.heads, rows.end * b.heads});
  }

 private:
  Rotation rotation_;
  float eps_;
  const Kernels* kernels_;
  std::array<Branch, 3> branches_;
};

// Heads are placed while their sums lie in a thread's caches.
class PlacedQkv : public Step {
 public:
  PlacedQkv(Planner& planner, const ops::QkvRope& op, ProductSpec spec) : heads_(planner, op) {
    spec.placer = &heads_;
    product_ = make_tile_product(planner, std::move(spec));
  }

  static bool suits(const Planner& planner, const ops::QkvRope& op, const View& x) {
    const Weight& w = planner.trace().program().weight(op.weight);
    return !op.norm_q && !op.norm_k && multiplied_in_tiles(planner, x, op.weight) &&
           !shares_own_rows(planner, x.rows(), w.shape.numel() * 2);
  }

  int phases() const override { return product_->phases(); }

  const char* run(const Worker& w) noexcept override {
    if (!heads_.rotation().in_range()) return "positions: one is outside the tables";
    return product_->run(w);
  }

 private:
  Heads heads_;
  std::unique_ptr<Step> product_;
};

class QkvRope : public Step {
 public:
  QkvRope(Planner& planner, const ops::QkvRope& op, std::unique_ptr<Step> product, View all)
      : product_(std::move(product)), all_(std::move(all)), heads_(planner, op) {
    threads_ = planner.threads();
    meets_ = meets();
  }

  int phases() const override { return product_->phases() + (meets_ ? 1 : 0); }

  const char* run(const Worker& w) noexcept override {
    if (!heads_.rotation().in_range()) return "positions: one is outside the tables";
    if (w.phase() < product_->phases()) {
      if (const char* trouble = product_->run(w)) return trouble;
      if (meets_ || w.phase() + 1 < product_->phases()) return nullptr;
    }
    split(w, threads_, all_.rows(), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t token = begin; token < end; ++token) {
        heads_.place({token, 0}, {reinterpret_cast<float*>(all_.row(token)),
                                  static_cast<std::size_t>(all_.width())});
      }
    });
    return nullptr;
  }

  void touch(int thread, Footprint& f) const override {
    if (meets_) return;
    product_->touch(thread, f);
    heads_.touch(share(all_.rows(), thread, threads_), f);
  }

 private:
  // Whether a thread places rows that others multiplied.
  bool meets() const {
    std::vector<Footprint> threads(static_cast<std::size_t>(threads_));
    for (int i = 0; i < threads_; ++i) product_->touch(i, threads[static_cast<std::size_t>(i)]);
    Meetings meetings;
    meetings.wanted_before(threads);
    for (int i = 0; i < threads_; ++i) {
      Footprint f;
      f.reads(all_, share(all_.rows(), i, threads_));
      threads[static_cast<std::size_t>(i)] = f;
    }
    return meetings.wanted_before(threads);
  }

  std::unique_ptr<Step> product_;
  View all_;  // f32 [B S, (H + 2 Hk) Dh]
  Heads heads_;
  bool meets_ = false;
};

}  // namespace

void plan(Planner& planner, const ops::QkvRope& op) {
  const View x = planner.view(op.x);
  const std::int64_t n = planner.trace().program().weight(op.weight).shape[0];
  Epilogue e;
  e.bias = planner.weights().vector(op.bias);
  if (PlacedQkv::suits(planner, op, x)) {
    ProductSpec spec;
    spec.x = x;
    spec.rows = x.rows();
    spec.weight = planner.weights().matrix(op.weight);
    spec.epilogue = std::move(e);
    spec.unit = planner.trace().shape(op.k)[-1];
    planner.add(std::make_unique<PlacedQkv>(planner, op, std::move(spec)));
    return;
  }
  const View all(planner.scratch_of<float>(x.rows() * n), DType::f32, x.rows(), n);
  e.out = all;
  auto product = make_product(planner, x, {op.weight, {}}, std::move(e));
  planner.add(std::make_unique<QkvRope>(planner, op, std::move(product), all));
}

}  // namespace tendon::cpu
