#include "backends/cpu/rope.h"

namespace tendon::cpu {

Rotation::Rotation(const Planner& planner, Value cos_table, Value sin_table, Value where) {
  if (!cos_table) return;
  const View c = planner.view(cos_table), s = planner.view(sin_table);
  cos = c.as<float>();
  sin = s.as<float>();
  cos_row = c.stride(0);
  sin_row = s.stride(0);
  positions = c.shape()[0];
  half = c.width();
  position = planner.integers(where);
  count = planner.trace().shape(where).numel();
}

bool Rotation::in_range() const {
  for (std::int64_t i = 0; i < (cos ? count : 0); ++i) {
    if (position[i] < 0 || position[i] >= positions) return false;
  }
  return true;
}

void Rotation::touch(Footprint& f) const {
  f.reads(position, static_cast<std::size_t>(count) * sizeof *position);
  f.reads(cos, static_cast<std::size_t>(positions * cos_row) * sizeof *cos);
  f.reads(sin, static_cast<std::size_t>(positions * sin_row) * sizeof *sin);
}

namespace {

class Rope : public Step {
 public:
  Rope(Planner& planner, const ops::Rope& op)
      : x_(planner.view(op.x)),
        out_(planner.view(op.out)),
        rotation_(planner, op.cos, op.sin, op.positions),
        heads_(x_.shape()[2]),
        kernels_(&planner.kernels()) {
    rotation_.style = op.style;
    threads_ = planner.threads();
    buffer_ = planner.own_of<float>(x_.width());
  }

  const char* run(const Worker& w) noexcept override {
    if (!rotation_.in_range()) return "positions: one is outside the tables";
    split(w, threads_, x_.rows(), [&](std::int64_t begin, std::int64_t end) {
      float* head = buffer_.of(w.index());
      for (std::int64_t r = begin; r < end; ++r) {
        kernels_->load(x_.dtype(), x_.row(r), x_.width(), head);
        rotation_.apply(*kernels_, r / heads_, head);
        kernels_->store(out_.dtype(), head, x_.width(), out_.row(r));
      }
    });
    return nullptr;
  }

 private:
  View x_, out_;
  Rotation rotation_;
  std::int64_t heads_;
  const Kernels* kernels_;
  Own<float> buffer_;
};

}  // namespace

void plan(Planner& planner, const ops::Rope& op) {
  planner.add(std::make_unique<Rope>(planner, op));
}

}  // namespace tendon::cpu
