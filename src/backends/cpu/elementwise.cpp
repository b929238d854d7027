// activation, gated_act, add, mul, axpy, select: pieces of rows widened to fp32, computed, rounded.
#include "backends/cpu/planner.h"

namespace tendon::cpu {
namespace {

constexpr std::int64_t kPiece = 1024;

// Dense operands of one shape are one long row.
bool all_dense(std::initializer_list<const View*> views) {
  return std::all_of(views.begin(), views.end(), [](const View* v) { return v->dense(); });
}
void flatten(std::initializer_list<View*> views) {
  for (View* v : views) *v = View(v->data(), v->dtype(), 1, v->rows() * v->width());
}

struct Piece {
  std::int64_t row, column, count;
};

// f(piece) over all pieces of `out`.
template <class F>
void for_pieces(int threads, const View& out, const F& f) noexcept {
  const std::int64_t across = (out.width() + kPiece - 1) / kPiece;
  split(threads, out.rows() * across, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t column = i % across * kPiece;
      f(Piece{i / across, column, std::min(kPiece, out.width() - column)});
    }
  });
}

void load(const Kernels& k, const View& v, const Piece& p, float* to) {
  k.load(v.dtype(), v.at(p.row, p.column), p.count, to);
}
void store(const Kernels& k, const float* from, const View& v, const Piece& p) {
  k.store(v.dtype(), from, p.count, v.at(p.row, p.column));
}
int threads_for(const Planner& planner, const View& v) {
  return planner.threads_over(v.rows() * v.width());
}

// out = act(a) * b, b possibly absent.
class Activate : public Step {
 public:
  Activate(Planner& planner, std::array<Value, 3> a_b_out, Act act)
      : a_(planner.view(a_b_out[0])),
        b_(planner.view(a_b_out[1])),
        out_(planner.view(a_b_out[2])),
        act_(act),
        kernels_(&planner.kernels()),
        threads_(threads_for(planner, out_)) {
    if (b_ && all_dense({&a_, &b_, &out_})) flatten({&a_, &b_, &out_});
    if (!b_ && all_dense({&a_, &out_})) flatten({&a_, &out_});
  }
  const char* run() noexcept override {
    for_pieces(threads_, out_, [&](const Piece& p) {
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
  View a_, b_, out_;
  Act act_;
  const Kernels* kernels_;
  int threads_;
};

enum class Binary { add, multiply };

class Combine : public Step {
 public:
  Combine(Planner& planner, std::array<Value, 3> a_b_out, Binary how)
      : a_(planner.view(a_b_out[0])),
        b_(planner.view(a_b_out[1])),
        out_(planner.view(a_b_out[2])),
        how_(how),
        kernels_(&planner.kernels()),
        threads_(threads_for(planner, out_)) {
    narrow_ = b_.width() == 1 && out_.width() > 1;
    if (b_.shape() == out_.shape() && all_dense({&a_, &b_, &out_})) {
      flatten({&a_, &b_, &out_});
    } else {
      b_ = b_.broadcast(out_.shape());
    }
  }
  const char* run() noexcept override {
    for_pieces(threads_, out_, [&](const Piece& p) {
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
  View a_, b_, out_;
  Binary how_;
  bool narrow_ = false;
  const Kernels* kernels_;
  int threads_;
};

class Axpy : public Step {
 public:
  Axpy(Planner& planner, const ops::Axpy& op)
      : x_(planner.view(op.x)),
        v_(planner.view(op.v)),
        out_(planner.view(op.out)),
        scale_(planner.table(op.scale, out_.rows())),
        factor_(op.factor),
        kernels_(&planner.kernels()),
        threads_(threads_for(planner, out_)) {}
  const char* run() noexcept override {
    if (!scale_.in_range(out_.rows())) return "scale: an index is outside its table";
    for_pieces(threads_, out_, [&](const Piece& p) {
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
  View x_, v_, out_;
  Table scale_;
  float factor_;
  const Kernels* kernels_;
  int threads_;
};

class Select : public Step {
 public:
  Select(Planner& planner, const ops::Select& op)
      : mask_(planner.integers(op.mask)),
        a_(planner.view(op.a)),
        b_(planner.view(op.b)),
        out_(planner.view(op.out)),
        kernels_(&planner.kernels()),
        threads_(threads_for(planner, out_)) {}
  const char* run() noexcept override {
    for_pieces(threads_, out_, [&](const Piece& p) {
      float x[kPiece];
      load(*kernels_, mask_[p.row] ? a_ : b_, p, x);
      store(*kernels_, x, out_, p);
    });
    return nullptr;
  }

 private:
  const std::int32_t* mask_;
  View a_, b_, out_;
  const Kernels* kernels_;
  int threads_;
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
