// rms_norm and layer_norm.
#include "backends/cpu/planner.h"

namespace tendon::cpu {
namespace {

class Norm : public Step {
 public:
  Norm(Planner& planner, Value x, Value out)
      : row{}, x_(planner.view(x)), out_(planner.view(out)), kernels_(&planner.kernels()) {
    row.width = x_.width();
    threads_ = planner.threads_over(x_.rows() * x_.width());
    buffer_ = planner.scratch_of<float>(threads_ * x_.width());
  }

  NormRow row;
  Table scale, shift;

  const char* run() noexcept override {
    if (!scale.in_range(x_.rows()) || !shift.in_range(x_.rows())) {
      return "scale or shift: an index is outside its table";
    }
    split(threads_, x_.rows(), [&](std::int64_t begin, std::int64_t end, int thread) {
      NormRow r = row;
      r.x = buffer_ + thread * row.width;
      for (std::int64_t i = begin; i < end; ++i) {
        kernels_->load(x_.dtype(), x_.row(i), row.width, r.x);
        if (scale) r.scale = scale.row(i);
        if (shift) r.shift = shift.row(i);
        kernels_->normalise(r);
        kernels_->store(out_.dtype(), r.x, row.width, out_.row(i));
      }
    });
    return nullptr;
  }

 private:
  View x_, out_;
  const Kernels* kernels_;
  int threads_;
  float* buffer_;
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
