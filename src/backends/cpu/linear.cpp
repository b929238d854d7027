// linear and gated_linear.
#include "backends/cpu/linear.h"

#include "backends/cpu/product.h"

namespace tendon::cpu {
namespace {

// The product by oneDNN into fp32, then one pass of ours.
class LibraryProduct : public Step {
 public:
  LibraryProduct(Planner& planner, View x, std::array<WeightRef, 2> weights, Epilogue epilogue)
      : x_(std::move(x)), epilogue_(std::move(epilogue)), kernels_(&planner.kernels()) {
    n_ = epilogue_.out.width();
    threads_ = planner.threads(static_cast<double>(x_.rows() * n_) * 8);
    const std::int64_t row = x_.row_bytes() / static_cast<std::int64_t>(size_of(x_.dtype()));
    std::size_t scratch = 0;
    for (int i = 0; i < 2; ++i) {
      if (!weights[i]) continue;
      y_[i] = planner.scratch_of<float>(x_.rows() * n_);
      const onednn::Matrix* m = planner.weights().library_matrix(weights[i], x_.rows());
      if (!planner.weights().packed()) continue;  // learning what is wanted: no layout yet
      products_[i] = std::make_unique<onednn::Product>(*m, x_.rows(), row);
      scratch = std::max(scratch, products_[i]->scratch_bytes());
    }
    scratch_ = planner.scratch(scratch);
  }

  const char* run() noexcept override {
    if (!epilogue_.gate.in_range(x_.rows())) return "gate: an index is outside its table";
    for (int i = 0; i < 2; ++i) {
      if (products_[i] && !products_[i]->run(x_.data(), y_[i], scratch_)) return "oneDNN failed";
    }
    split(threads_, x_.rows(), [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t r = begin; r < end; ++r) finish(r);
    });
    return nullptr;
  }

 private:
  void finish(std::int64_t r) const noexcept {
    float* up = y_[1] ? y_[1] + r * n_ : nullptr;
    if (up && epilogue_.up_bias) kernels_->add(up, epilogue_.up_bias, n_);
    finish_row(*kernels_, epilogue_, r, 0, {y_[0] + r * n_, static_cast<std::size_t>(n_)}, up);
  }

  View x_;
  Epilogue epilogue_;
  const Kernels* kernels_;
  int threads_ = 1;
  std::int64_t n_ = 0;
  std::array<float*, 2> y_{};
  std::array<std::unique_ptr<onednn::Product>, 2> products_;
  std::byte* scratch_ = nullptr;
};

// oneDNN wants x as it multiplies it, in rows one distance apart.
bool library_suits(const Planner& planner, const View& x, const Weight& weight) {
  const CpuProducts products = planner.products();
  const bool narrow = weight.format == Format::bf16;
  if (products == CpuProducts::own || x.row_bytes() == 0) return false;
  if (x.dtype() != (narrow ? DType::bf16 : DType::f32)) return false;
  return products == CpuProducts::onednn || narrow;
}

}  // namespace

std::unique_ptr<Step> make_product(Planner& planner, const View& x,
                                   std::array<WeightRef, 2> weights, Epilogue epilogue) {
  if (library_suits(planner, x, planner.trace().program().weight(weights[0]))) {
    return std::make_unique<LibraryProduct>(planner, x, weights, std::move(epilogue));
  }
  ProductSpec spec;
  spec.rows = x.rows();
  spec.x = x;
  spec.weight = planner.weights().matrix(weights[0]);
  if (weights[1]) spec.up = planner.weights().matrix(weights[1]);
  spec.epilogue = std::move(epilogue);
  return std::make_unique<Product>(planner, std::move(spec));
}

void plan(Planner& planner, const ops::Linear& op) {
  const View x = planner.view(op.x);
  Epilogue e;
  e.bias = planner.weights().vector(op.bias);
  e.act = op.act;
  e.gate = planner.table(op.gate, x.rows());
  e.residual = planner.view(op.residual);
  e.out = planner.view(op.out);
  planner.add(make_product(planner, x, {op.weight, {}}, std::move(e)));
}

void plan(Planner& planner, const ops::GatedLinear& op) {
  Epilogue e;
  e.bias = planner.weights().vector(op.gate_bias);
  e.up_bias = planner.weights().vector(op.up_bias);
  e.act = op.act;
  e.out = planner.view(op.out);
  planner.add(make_product(planner, planner.view(op.x), {op.gate, op.up}, std::move(e)));
}

}  // namespace tendon::cpu
