#include "backends/cuda/product.h"

#include <algorithm>

#include "backends/cuda/tiles.h"
#include "base/error.h"

namespace tendon::cuda {
namespace {

using device::RowsView;

int alignment_of(const RowsView& v) {
  const std::uint64_t unit = size_of(v.dtype);
  const std::uint64_t all =
      reinterpret_cast<std::uintptr_t>(v.data) | static_cast<std::uint64_t>(v.row_stride) * unit |
      (v.rows == v.count ? 0 : static_cast<std::uint64_t>(v.batch_stride) * unit);
  return static_cast<int>(std::min<std::uint64_t>(16, all & (~all + 1)));
}

// Rows of a batch such that every view has one row stride and one batch stride.
int batch_rows(std::initializer_list<const RowsView*> views) {
  int rows = 0;
  for (const RowsView* v : views) {
    if (!v->data || v->rows == v->count) continue;
    require(rows == 0 || rows == v->rows, "product: batches of {} and of {} rows", rows, v->rows);
    rows = v->rows;
  }
  return rows;
}

std::int64_t batch_stride(const RowsView& v, int rows) {
  return v.rows == v.count ? rows * v.row_stride : v.batch_stride;
}

std::int64_t row_stride(const RowsView& v) { return std::max<std::int64_t>(v.row_stride, v.width); }

RowsView dense(void* data, DType dtype, int count, int width) {
  return {data, dtype, count, width, count, 0, width};
}

int weight_alignment(int k, DType dtype) {
  const int bytes = k * static_cast<int>(size_of(dtype));
  return std::min(16, bytes & -bytes);
}

GemmShape shape_of(const Product& p, const ProductExtras& extras, const RowsView& x,
                   const RowsView& out) {
  GemmShape s;
  const int rows = batch_rows({&x, &out, &extras.residual});
  s.m = rows ? rows : out.count;
  s.batches = out.count / s.m;
  s.n = p.n, s.k = p.k;
  s.in = p.in, s.out = out.dtype;
  s.x_stride = row_stride(x), s.out_stride = row_stride(out);
  s.alignment = std::min(alignment_of(x), alignment_of(out));
  s.alignment = std::min(s.alignment, weight_alignment(p.k, p.in));
  s.epilogue = extras.epilogue;
  if (s.batches > 1) s.x_batch = batch_stride(x, s.m), s.out_batch = batch_stride(out, s.m);
  if (extras.residual.data) {
    s.residual = GemmShape::Residual::added;
    s.residual_stride = row_stride(extras.residual);
    if (s.batches > 1) s.residual_batch = batch_stride(extras.residual, s.m);
    s.alignment = std::min(s.alignment, alignment_of(extras.residual));
  }
  if (p.in == DType::f32) s.alignment = std::max(s.alignment, 4);
  return s;
}

// x in the dtype of the weight: as it lies, or converted into temporary memory.
struct Input {
  RowsView view;
  Scratch scratch;
  const void* get() const { return view.data ? view.data : scratch.get(); }
};

Input input(Planner& planner, const Product& p) {
  Input in{p.x, p.scratch_x};
  if (p.x.dtype == p.in) return in;
  const std::size_t elements =
      static_cast<std::size_t>(p.x.count) * static_cast<std::size_t>(p.x.width);
  in.scratch = planner.scratch(elements * size_of(p.in));
  planner.launch([view = p.x, to = in.scratch, dtype = p.in](cudaStream_t stream) {
    launch_convert(view, to.get(), dtype, stream);
  });
  in.view = dense(nullptr, p.in, p.x.count, p.x.width);
  return in;
}

const void* weight_of(Planner& planner, const Product& p) {
  return p.joined ? p.joined : planner.weights().matrix(p.weight, p.in);
}

TileProduct tiles(Planner& planner, const Product& p, const EpilogueArgs& epilogue) {
  TileProduct t{.x = p.x, .scratch_x = p.scratch_x, .weight = weight_of(planner, p)};
  t.n = p.n, t.k = p.k, t.epilogue = epilogue;
  return t;
}

void library_to_scratch(Planner& planner, const Product& p, const RowsView& out, Scratch to) {
  const void* weight = weight_of(planner, p);
  const Input x = input(planner, p);
  const Gemm& gemm = planner.shared().gemms->get(shape_of(p, {}, x.view, out), weight);
  planner.launch([&gemm, to, x, weight](cudaStream_t stream) {
    gemm.run({x.get(), weight, nullptr, nullptr, to.get()}, stream);
  });
}

// By tiles, which take bf16, or by what `otherwise` plans.
void plan_either(Planner& planner, const Product& p, const TileProduct& t,
                 const std::function<void()>& otherwise) {
  if (p.in == DType::bf16) {
    plan_tiles(planner, t, otherwise);
  } else {
    otherwise();
  }
}

Scratch scratch_for(Planner& planner, const RowsView& out) {
  const std::size_t count = static_cast<std::size_t>(out.count);
  return planner.scratch(count * static_cast<std::size_t>(out.width) * size_of(out.dtype));
}

}  // namespace

DType product_dtype(const Planner& planner, Value x, WeightRef weight) {
  const bool half = planner.trace().dtype(x) == DType::bf16 &&
                    planner.trace().program().weight(weight).format == Format::bf16;
  return half ? DType::bf16 : DType::f32;
}

bool library_finishes(const Planner& planner, const Finish& f, DType in) {
  const Trace& t = planner.trace();
  const DType out = t.dtype(f.out);
  // Seen with cublasLt 13.1: no bf16 algorithm adds a bias where rows, of the weight or of out, are
  // aligned to less than 16 bytes.
  if (f.bias && in == DType::bf16 &&
      (weight_alignment(f.inputs, in) < 16 || alignment_of(planner.rows(f.out)) < 16)) {
    return false;
  }
  if (out != DType::f32 && !(out == DType::bf16 && in == DType::bf16)) return false;
  if (f.residual && t.dtype(f.residual) != out) return false;
  const bool half = f.bias && t.program().weight(f.bias).format == Format::bf16;
  if (f.bias && out == DType::bf16 && !half) return false;
  if (f.act == Act::none) return true;
  return f.act == Act::gelu_tanh && f.bias && !f.residual && out == DType::bf16;
}

ProductExtras library_extras(Planner& planner, const Finish& f) {
  ProductExtras extras{.residual = planner.rows(f.residual)};
  if (!f.bias) return extras;
  extras.epilogue =
      f.act == Act::gelu_tanh ? GemmShape::Epilogue::gelu_bias : GemmShape::Epilogue::bias;
  extras.bias = planner.trace().dtype(f.out) == DType::bf16
                    ? planner.weights().vector_bf16(f.bias)
                    : static_cast<const void*>(planner.weights().vector(f.bias));
  return extras;
}

void plan_product(Planner& planner, const Product& p, const ProductExtras& extras) {
  const void* weight = weight_of(planner, p);
  const Input x = input(planner, p);
  const Gemm& gemm = planner.shared().gemms->get(shape_of(p, extras, x.view, p.out), weight);
  planner.launch([&gemm, x, weight, extras, out = p.out.data](cudaStream_t stream) {
    gemm.run({x.get(), weight, extras.bias, extras.residual.data, out}, stream);
  });
}

Scratch plan_product_to_scratch(Planner& planner, const Product& p, DType dtype) {
  const RowsView out = dense(nullptr, dtype, p.x.count, p.n);
  const Scratch acc = scratch_for(planner, out);
  TileProduct t = tiles(planner, p, {.out = out});
  t.scratch_out = acc;
  plan_either(planner, p, t, [&] { library_to_scratch(planner, p, out, acc); });
  return acc;
}

void plan_finished(Planner& planner, const Product& p, const Finish& finish,
                   const EpilogueArgs& args) {
  plan_either(planner, p, tiles(planner, p, args), [&] {
    if (!args.gate.data && library_finishes(planner, finish, p.in)) {
      plan_product(planner, p, library_extras(planner, finish));
      return;
    }
    const int vector =
        std::min(vector_width({args.residual, args.out}), vector_width(args.gate, args.out.width));
    const RowsView out = dense(nullptr, DType::f32, p.x.count, p.n);
    const Scratch acc = scratch_for(planner, out);
    library_to_scratch(planner, p, out, acc);
    planner.launch([acc, args, vector](cudaStream_t stream) {
      launch_epilogue(static_cast<const float*>(acc.get()), args, vector, stream);
    });
  });
}

void plan_convolution(Planner& planner, const Product& p, const Convolution& convolution,
                      const std::function<void()>& otherwise) {
  TileProduct t = tiles(planner, p, convolution.end);
  t.conv = convolution.boxes;
  plan_either(planner, p, t, otherwise);
}

void plan_gated(Planner& planner, const Product& p, const GatedArgs& args) {
  Product both = p;
  both.n = 2 * p.n;
  TileProduct t = tiles(planner, p, {.bias = args.gate_bias, .curve = args.curve, .out = args.out});
  t.paired = 1, t.up_bias = args.up_bias, t.rounds = args.dtype == DType::bf16;
  plan_either(planner, p, t, [&] {
    const int vector = vector_width({args.out});
    const RowsView out = dense(nullptr, args.dtype, p.x.count, both.n);
    const Scratch pairs = scratch_for(planner, out);
    library_to_scratch(planner, both, out, pairs);
    planner.launch([pairs, a = args, vector](cudaStream_t stream) mutable {
      a.pairs = pairs.get();
      launch_gated(a, vector, stream);
    });
  });
}

}  // namespace tendon::cuda
