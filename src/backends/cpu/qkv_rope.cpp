#include "backends/cpu/linear.h"
#include "backends/cpu/rope.h"

namespace tendon::cpu {
namespace {

// q, k or v: columns [first, first + width) of the product.
struct Branch {
  View out;  // [B, S, heads, Dh]; empty: not wanted
  std::int64_t first = 0, heads = 0;
  const float* norm = nullptr;
  bool rotated = false;
};

class QkvRope : public Step {
 public:
  QkvRope(Planner& planner, const ops::QkvRope& op, std::unique_ptr<Step> product, View all)
      : product_(std::move(product)),
        all_(std::move(all)),
        rotation_(planner, op.cos, op.sin, op.positions),
        eps_(op.eps),
        kernels_(&planner.kernels()) {
    rotation_.style = op.style;
    threads_ = planner.threads();
    meets_ = meets();
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

  int phases() const override { return product_->phases() + (meets_ ? 1 : 0); }

  const char* run(const Worker& w) noexcept override {
    if (!rotation_.in_range()) return "positions: one is outside the tables";
    if (w.phase() < product_->phases()) {
      if (const char* trouble = product_->run(w)) return trouble;
      if (meets_ || w.phase() + 1 < product_->phases()) return nullptr;
    }
    split(w, threads_, all_.rows(), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t token = begin; token < end; ++token) {
        for (const Branch& b : branches_) {
          if (b.out) scatter(b, token);
        }
      }
    });
    return nullptr;
  }

  void touch(int thread, Footprint& f) const override {
    if (meets_) return;
    product_->touch(thread, f);
    rotation_.touch(f);
    const Range mine = share(all_.rows(), thread, threads_);
    for (const Branch& b : branches_) {
      f.writes(b.out, {mine.begin * b.heads, mine.end * b.heads});
    }
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

  void scatter(const Branch& b, std::int64_t token) const noexcept {
    float* x = reinterpret_cast<float*>(all_.row(token)) + b.first;
    const std::int64_t width = b.out.width();
    if (b.norm) {
      kernels_->normalise({.x = x, .width = b.heads * width, .weight = b.norm, .eps = eps_});
    }
    for (std::int64_t h = 0; h < b.heads; ++h, x += width) {
      if (b.rotated && rotation_) rotation_.apply(*kernels_, token, x);
      kernels_->store(b.out.dtype(), x, width, b.out.row(token * b.heads + h));
    }
  }

  std::unique_ptr<Step> product_;
  View all_;  // f32 [B S, (H + 2 Hk) Dh]
  Rotation rotation_;
  float eps_;
  const Kernels* kernels_;
  bool meets_ = false;
  std::array<Branch, 3> branches_;
};

}  // namespace

void plan(Planner& planner, const ops::QkvRope& op) {
  const View x = planner.view(op.x);
  const std::int64_t n = planner.trace().program().weight(op.weight).shape[0];
  const View all(planner.scratch_of<float>(x.rows() * n), DType::f32, x.rows(), n);
  Epilogue e;
  e.bias = planner.weights().vector(op.bias);
  e.out = all;
  auto product = make_product(planner, x, {op.weight, {}}, std::move(e));
  planner.add(std::make_unique<QkvRope>(planner, op, std::move(product), all));
}

}  // namespace tendon::cpu
