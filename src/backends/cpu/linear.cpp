// linear and gated_linear.
#include "backends/cpu/linear.h"

#include "backends/cpu/tile_product.h"

namespace tendon::cpu {
namespace {

// Blocks of columns, each by one thread: the product by oneDNN into fp32, then one pass of ours.
class LibraryProduct : public Step {
 public:
  LibraryProduct(Planner& planner, View x, std::array<WeightRef, 2> weights, Epilogue epilogue)
      : x_(std::move(x)), epilogue_(std::move(epilogue)), kernels_(&planner.kernels()) {
    threads_ = planner.threads();
    std::size_t scratch = 0;
    for (std::size_t i = 0; i < 2; ++i) {
      if (!weights[i]) continue;
      const onednn::Matrix* m = planner.weights().library_matrix(weights[i], x_.rows());
      if (!planner.weights().packed()) continue;  // learning what is wanted: no layout yet
      products_.emplace_back(*m, x_.rows());
      y_[i] = planner.own_of<float>(x_.rows() * products_[i].columns(0));
      scratch = std::max(scratch, products_[i].scratch_bytes());
    }
    scratch_ = planner.own_of<std::byte>(static_cast<std::int64_t>(scratch));
  }

  const char* run(const Worker& w) noexcept override {
    if (!epilogue_.gate.in_range({0, x_.rows()})) return "gate: an index is outside its table";
    bool failed = false;
    split(w, threads_, products_[0].blocks(), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t block = begin; block < end; ++block) {
        failed = failed || !run_block(static_cast<int>(block), w.index());
      }
    });
    return failed ? "oneDNN failed" : nullptr;
  }

 private:
  bool run_block(int block, int thread) const noexcept {
    for (std::size_t i = 0; i < products_.size(); ++i) {
      if (!products_[i].run(block, x_.data(), y_[i].of(thread), scratch_.of(thread))) return false;
    }
    const std::int64_t n = products_[0].columns(block), from = products_[0].first_column(block);
    float *y = y_[0].of(thread), *up = products_.size() > 1 ? y_[1].of(thread) : nullptr;
    for (std::int64_t r = 0; r < x_.rows(); ++r, y += n) {
      if (up && epilogue_.up_bias) kernels_->add(up, epilogue_.up_bias + from, n);
      finish_row(*kernels_, epilogue_, {r, from}, {y, static_cast<std::size_t>(n)}, up);
      if (up) up += n;
    }
    return true;
  }

  View x_;
  Epilogue epilogue_;
  const Kernels* kernels_;
  std::array<Own<float>, 2> y_{};
  std::vector<onednn::Product> products_;
  Own<std::byte> scratch_;
};

// Below this a call of the library costs more than it saves. By the weight alone, so that a weight
// is not packed twice for stages of different lengths.
constexpr std::int64_t kLibraryWeights = 1 << 18;

// oneDNN wants x as it multiplies it, and its layouts were chosen for dense rows.
bool library_suits(const Planner& planner, const View& x, const Weight& weight) {
  const Machine& machine = planner.machine();
  const bool narrow = weight.format == Format::bf16;
  if (narrow && machine.tiles && machine.products == CpuProducts::automatic &&
      tiles_suit_run(x.width())) {
    return false;  // ours are 1.1 to 2 times as fast: docs/performance.md
  }
  if (machine.products == CpuProducts::own || !x.dense() || x.rows() == 0) return false;
  if (x.dtype() != (narrow ? DType::bf16 : DType::f32)) return false;
  if (narrow && !machine.library_bf16) return false;
  return machine.products == CpuProducts::onednn ||
         (narrow && weight.shape.numel() >= kLibraryWeights);
}

// Fewer rows are bound by memory with vectors too.
constexpr std::int64_t kLeastTileRows = 9;

bool takes_tiles(const Planner& planner, const View& x, WeightRef weight) {
  return x.dtype() == DType::bf16 && x.row_bytes() != 0 && x.rows() >= kLeastTileRows &&
         tiles_suit(planner, weight, x.width());
}

}  // namespace

bool multiplied_in_tiles(const Planner& planner, const View& x, WeightRef weight) {
  return !library_suits(planner, x, planner.trace().program().weight(weight)) &&
         takes_tiles(planner, x, weight);
}

std::unique_ptr<Step> make_tile_product(Planner& planner, ProductSpec spec) {
  const TileRows rows{.data = spec.x.data(),
                      .rows = spec.x.rows(),
                      .row_bytes = spec.x.row_bytes(),
                      .pitch = spec.x.rows(),
                      .columns = spec.x.rows()};
  return std::make_unique<TileProduct>(planner, rows, std::move(spec));
}

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
  if (takes_tiles(planner, x, weights[0])) return make_tile_product(planner, std::move(spec));
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
