// activation, gated_act, add, mul, axpy, select: pieces of rows widened to fp32, computed, rounded.
#include "backends/cpu/planner.h"

namespace tendon::cpu {
namespace {

constexpr std::int64_t kPiece = 1024;

// Dense operands of one shape with rows of a few elements are one long row.
constexpr std::int64_t kShort = 16;
void flatten(std::initializer_list<View*> views) {
  for (const View* v : views) {
    if (!v->dense() || v->width() > kShort) return;
  }
  for (View* v : views) *v = View(v->data(), v->dtype(), 1, v->rows() * v->width());
}

struct Piece {
  std::int64_t row, column, count;
};

// A pass over the rows of `out`, or the pieces of its one row, shared by threads.
class Pass : public Step {
 public:
  void touch(int thread, Footprint& f) const override {
    const Range mine = rows_of(share(out_.rows() * across_, thread, threads_));
    touch_rows(mine, f);
    f.writes(out_, mine);
  }

 protected:
  Pass(const Planner& planner, View out) : out_(std::move(out)), kernels_(&planner.kernels()) {
    threads_ = planner.threads();
    cut();
  }
  void cut() { across_ = (out_.width() + kPiece - 1) / kPiece; }
  virtual void touch_rows(Range rows, Footprint& f) const = 0;
  Range rows_of(Range pieces) const {
    return {pieces.begin / across_, (pieces.end + across_ - 1) / across_};
  }
  Range my_rows(const Worker& w) const {
    return rows_of(share(out_.rows() * across_, w.index(), threads_));
  }

  // f(piece) over the pieces of this thread.
  template <class F>
  void for_pieces(const Worker& w, const F& f) const noexcept {
    split(w, threads_, out_.rows() * across_, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t column = i % across_ * kPiece;
        f(Piece{i / across_, column, std::min(kPiece, out_.width() - column)});
      }
    });
  }

  View out_;
  const Kernels* kernels_;

 private:
  std::int64_t across_ = 1;
};

void load(const Kernels& k, const View& v, const Piece& p, float* to) {
  k.load(v.dtype(), v.at(p.row, p.column), p.count, to);
}
void store(const Kernels& k, const float* from, const View& v, const Piece& p) {
  k.store(v.dtype(), from, p.count, v.at(p.row, p.column));
}

// out = act(a) * b, b possibly absent.
class Activate : public Pass {
 public:
  Activate(Planner& planner, std::array<Value, 3> a_b_out, Act act)
      : Pass(planner, planner.view(a_b_out[2])),
        a_(planner.view(a_b_out[0])),
        b_(planner.view(a_b_out[1])),
        act_(act) {
    b_ ? flatten({&a_, &b_, &out_}) : flatten({&a_, &out_});
    cut();
  }
  const char* run(const Worker& w) noexcept override {
    for_pieces(w, [&](const Piece& p) {
      float x[kPiece], y[kPiece];
      load(*kernels_, a_, p, x);
      kernels_->activate(act_, x, p.count);
      if (b_) {
        load(*kernels_, b_, p, y);
        kernels_->multiply(x, y, p.count);
      }
      store(*kernels_, x, out_, p);
    });
    return nullptr;
  }

 private:
  void touch_rows(Range rows, Footprint& f) const override {
    f.reads(a_, rows);
    f.reads(b_, rows);
  }

  View a_, b_;
  Act act_;
};

enum class Binary { add, multiply };

class Combine : public Pass {
 public:
  Combine(Planner& planner, std::array<Value, 3> a_b_out, Binary how)
      : Pass(planner, planner.view(a_b_out[2])),
        a_(planner.view(a_b_out[0])),
        b_(planner.view(a_b_out[1])),
        how_(how) {
    narrow_ = b_.width() == 1 && out_.width() > 1;
    if (b_.shape() == out_.shape()) {
      flatten({&a_, &b_, &out_});
      cut();
    } else {
      b_ = b_.broadcast(out_.shape());
    }
  }
  const char* run(const Worker& w) noexcept override {
    for_pieces(w, [&](const Piece& p) {
      float x[kPiece], y[kPiece];
      load(*kernels_, a_, p, x);
      if (narrow_) {
        kernels_->load(b_.dtype(), b_.row(p.row), 1, y);
        std::fill_n(y + 1, p.count - 1, y[0]);
      } else {
        load(*kernels_, b_, p, y);
      }
      (how_ == Binary::add ? kernels_->add : kernels_->multiply)(x, y, p.count);
      store(*kernels_, x, out_, p);
    });
    return nullptr;
  }

 private:
  void touch_rows(Range rows, Footprint& f) const override {
    f.reads(a_, rows);
    f.reads(b_, rows);
  }

  View a_, b_;
  Binary how_;
  bool narrow_ = false;
};

class Axpy : public Pass {
 public:
  Axpy(Planner& planner, const ops::Axpy& op)
      : Pass(planner, planner.view(op.out)),
        x_(planner.view(op.x)),
        v_(planner.view(op.v)),
        scale_(planner.table(op.scale, out_.rows())),
        factor_(op.factor) {}
  const char* run(const Worker& w) noexcept override {
    if (!scale_.in_range(my_rows(w))) return "scale: an index is outside its table";
    for_pieces(w, [&](const Piece& p) {
      float x[kPiece], v[kPiece];
      load(*kernels_, x_, p, x);
      load(*kernels_, v_, p, v);
      const float s = scale_ ? *scale_.row(p.row) : 1.0f;
      kernels_->add_scaled(x, v, factor_ * s, p.count);
      store(*kernels_, x, out_, p);
    });
    return nullptr;
  }

 private:
  void touch_rows(Range rows, Footprint& f) const override {
    f.reads(x_, rows);
    f.reads(v_, rows);
    f.reads(scale_, rows);
  }

  View x_, v_;
  Table scale_;
  float factor_;
};

class Select : public Pass {
 public:
  Select(Planner& planner, const ops::Select& op)
      : Pass(planner, planner.view(op.out)),
        mask_(planner.integers(op.mask)),
        a_(planner.view(op.a)),
        b_(planner.view(op.b)) {}
  const char* run(const Worker& w) noexcept override {
    for_pieces(w, [&](const Piece& p) {
      float x[kPiece];
      load(*kernels_, mask_[p.row] ? a_ : b_, p, x);
      store(*kernels_, x, out_, p);
    });
    return nullptr;
  }

 private:
  void touch_rows(Range rows, Footprint& f) const override {
    f.reads(a_, rows);
    f.reads(b_, rows);
    f.reads(mask_, static_cast<std::size_t>(rows.end) * sizeof *mask_);
  }

  const std::int32_t* mask_;
  View a_, b_;
};

}  // namespace

void plan(Planner& planner, const ops::Activation& op) {
  planner.add(std::make_unique<Activate>(planner, std::array{op.x, Value{}, op.out}, op.act));
}
void plan(Planner& planner, const ops::GatedAct& op) {
  planner.add(std::make_unique<Activate>(planner, std::array{op.gate, op.up, op.out}, op.act));
}
void plan(Planner& planner, const ops::Add& op) {
  planner.add(std::make_unique<Combine>(planner, std::array{op.a, op.b, op.out}, Binary::add));
}
void plan(Planner& planner, const ops::Mul& op) {
  planner.add(std::make_unique<Combine>(planner, std::array{op.a, op.b, op.out}, Binary::multiply));
}
void plan(Planner& planner, const ops::Axpy& op) {
  planner.add(std::make_unique<Axpy>(planner, op));
}
void plan(Planner& planner, const ops::Select& op) {
  planner.add(std::make_unique<Select>(planner, op));
}

}  // namespace tendon::cpu
