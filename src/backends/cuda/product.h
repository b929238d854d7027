// The product that several ops share: operands brought to one dtype, one library call, an epilogue
// of ours where the library has none.
#pragma once

#include "backends/cuda/planner.h"

namespace tendon::cuda {

struct Product {
  device::RowsView x, out;
  WeightRef weight;
  const void* joined = nullptr;  // a device matrix to use in place of `weight`
  int n = 0, k = 0;
  DType in = DType::bf16;  // of the weight on the device, see product_dtype
  Scratch scratch_x;       // where x.data is null: x lies in temporary memory
};

// bf16 where both operands are bf16, else f32.
DType product_dtype(const Planner& planner, Value x, WeightRef weight);

// What the library adds in its own epilogue. The residual has the dtype of out, the bias too.
struct ProductExtras {
  GemmShape::Epilogue epilogue = GemmShape::Epilogue::none;
  const void* bias = nullptr;
  device::RowsView residual;
};
// Whether the library can finish an op with one rounding.
struct Finish {
  WeightRef bias;
  Act act = Act::none;
  Value residual;
  int inputs = 0;
  Value out;
};
bool library_finishes(const Planner& planner, const Finish& finish, DType in);
ProductExtras library_extras(Planner& planner, const Finish& finish);

// out = x W^T with the extras.
void plan_product(Planner& planner, const Product& product, const ProductExtras& extras = {});
// The same into temporary memory: rows of n elements. x as above, `out` ignored.
Scratch plan_product_to_scratch(Planner& planner, const Product& product, DType dtype);

// out = residual + gate * act(acc + bias), acc fp32 rows of out.width in temporary memory.
struct EpilogueArgs {
  const float* bias = nullptr;
  device::Curve curve = device::Curve::none;
  device::TableView gate;
  device::RowsView residual, out;
};
// The product and its epilogue, in one kernel or in as few as there are.
void plan_finished(Planner& planner, const Product& product, const Finish& finish,
                   const EpilogueArgs& args);
// The same of a convolution, without unfolding it or by what `otherwise` plans. `product` is the
// one over unfolded rows.
struct Convolution;
void plan_convolution(Planner& planner, const Product& product, const Convolution& convolution,
                      const std::function<void()>& otherwise);
void launch_epilogue(const float* acc, const EpilogueArgs& args, int vector, cudaStream_t stream);
// Rows of x as dense rows of another floating dtype.
void launch_convert(const device::RowsView& x, void* out, DType dtype, cudaStream_t stream);
// out = act(pairs[:, j]) * pairs[:, n + j], biases added first.
struct GatedArgs {
  const void* pairs = nullptr;
  DType dtype = DType::bf16;
  const float* gate_bias = nullptr;
  const float* up_bias = nullptr;
  device::Curve curve = device::Curve::none;
  device::RowsView out;
};
// The product of gate and up and what GatedArgs says. `product.joined` holds both, n outputs of
// each.
void plan_gated(Planner& planner, const Product& product, const GatedArgs& args);
void launch_gated(const GatedArgs& args, int vector, cudaStream_t stream);

}  // namespace tendon::cuda
