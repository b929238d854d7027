// rms_norm and layer_norm.
#include "backends/cpu/planner.h"

namespace tendon::cpu {
namespace {

class Norm : public Step {
 public:
  Norm(Planner& planner, Value x, Value out)
      : row{}, x_(planner.view(x)), out_(planner.view(out)), kernels_(&planner.kernels()) {
    row.width = x_.width();
    threads_ = planner.threads();
    buffer_ = planner.own_of<float>(x_.width());
  }

  NormRow row;
  Table scale, shift;

  const char* run(const Worker& w) noexcept override {
    const Range mine = share(x_.rows(), w.index(), threads_);
    if (!scale.in_range(mine) || !shift.in_range(mine)) {
      return "scale or shift: an index is outside its table";
    }
    NormRow r = row;
    r.x = buffer_.of(w.index());
    for (std::int64_t i = mine.begin; i < mine.end; ++i) {
      kernels_->load(x_.dtype(), x_.row(i), row.width, r.x);
      if (scale) r.scale = scale.row(i);
      if (shift) r.shift = shift.row(i);
      kernels_->normalise(r);
      kernels_->store(out_.dtype(), r.x, row.width, out_.row(i));
    }
    return nullptr;
  }

  void touch(int thread, Footprint& f) const override {
    const Range mine = share(x_.rows(), thread, threads_);
    f.reads(x_, mine);
    f.reads(scale, mine);
    f.reads(shift, mine);
    f.writes(out_, mine);
  }

 private:
  View x_, out_;
  const Kernels* kernels_;
  Own<float> buffer_;
};

}  // namespace

void plan(Planner& planner, const ops::RmsNorm& op) {
  auto step = std::make_unique<Norm>(planner, op.x, op.out);
  Norm& norm = *step;
  norm.row.weight = planner.weights().vector(op.weight);
  norm.row.weight_offset = op.weight_offset;
  norm.row.eps = op.eps;
  const std::int64_t rows = planner.view(op.out).rows();
  norm.scale = planner.table(op.scale, rows);
  norm.shift = planner.table(op.shift, rows);
  planner.add(std::move(step));
}

void plan(Planner& planner, const ops::LayerNorm& op) {
  auto step = std::make_unique<Norm>(planner, op.x, op.out);
  Norm& norm = *step;
  norm.row.weight = planner.weights().vector(op.weight);
  norm.row.bias = planner.weights().vector(op.bias);
  norm.row.eps = op.eps;
  norm.row.centred = true;
  const std::int64_t rows = planner.view(op.out).rows();
  norm.scale = planner.table(op.scale, rows);
  norm.shift = planner.table(op.shift, rows);
  planner.add(std::move(step));
}

}  // namespace tendon::cpu
