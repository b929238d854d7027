#include "backends/cpu/onednn.h"

#include <omp.h>

#include <algorithm>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

#include "backends/cpu/memory.h"
#include "base/error.h"

namespace tendon::cpu::onednn {
namespace {

using Desc = dnnl::memory::desc;
using Type = dnnl::memory::data_type;
using Tag = dnnl::memory::format_tag;

Type type_of(DType dtype) {
  require(dtype == DType::f32 || dtype == DType::bf16, "onednn: no products of {}", name(dtype));
  return dtype == DType::bf16 ? Type::bf16 : Type::f32;
}

// Has no state of its own; descriptors and primitives point to it without owning it.
const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

dnnl::matmul::primitive_desc describe(const Desc& x, const Desc& w, const Desc& y) {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
#if DNNL_VERSION_MAJOR >= 3
  return {engine(), x, w, y, attr};
#else
  return {dnnl::matmul::desc(x, w, y), attr, engine()};
#endif
}

// The library would spread over OpenMP's threads what a thread of ours asks of it, and plans for as
// many; while one of these lives it knows of one.
class OneThread {
 public:
  OneThread() { omp_set_num_threads(1); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;
  ~OneThread() { omp_set_num_threads(before_); }

 private:
  int before_ = omp_get_max_threads();
};

struct Operand {
  dnnl::memory memory;
  explicit Operand(const Desc& desc) : memory(desc, engine(), nullptr) {}
  void at(const void* p) const { dnnl_memory_set_data_handle(memory.get(), const_cast<void*>(p)); }
};

}  // namespace

struct Matrix::Impl {
  struct Block {
    std::int64_t first, columns;
    Desc desc;
    Memory data;
  };
  MatrixSpec spec;
  std::vector<Block> blocks;
};

Matrix::Matrix() = default;
Matrix::Matrix(Matrix&&) noexcept = default;
Matrix& Matrix::operator=(Matrix&&) noexcept = default;
Matrix::~Matrix() = default;

std::size_t Matrix::bytes() const {
  std::size_t sum = 0;
  if (impl_) {
    for (const Impl::Block& b : impl_->blocks) sum += b.data.bytes();
  }
  return sum;
}

namespace {

// About 1 MB of results, in multiples of the library's own blocks; at least 256 columns, fewer only
// where threads would have none.
std::int64_t block_columns(const MatrixSpec& spec, std::int64_t threads) {
  constexpr std::int64_t kOwn = 64, kLeast = 256, kFloats = 1 << 18;
  const std::int64_t most = std::max(kLeast, kFloats / std::max<std::int64_t>(1, spec.rows[0]));
  const std::int64_t rounds = (spec.n + most * threads - 1) / (most * threads);
  const std::int64_t even = (spec.n + rounds * threads - 1) / (rounds * threads);
  return std::min(spec.n, (even + kOwn - 1) / kOwn * kOwn);
}

void reorder(const Desc& from, const std::byte* plain, const Desc& to, std::byte* packed) {
  dnnl::memory source(from, engine(), const_cast<std::byte*>(plain));
  dnnl::memory target(to, engine(), packed);
  dnnl::stream stream(engine());
  dnnl::reorder(source, target).execute(stream, source, target);
  stream.wait();
}

std::int64_t weights_columns(const Desc& weights) {
#if DNNL_VERSION_MAJOR >= 3
  return weights.get_dims()[1];
#else
  return weights.dims()[1];
#endif
}

dnnl::matmul::primitive_desc describe_rows(const MatrixSpec& spec, std::int64_t rows,
                                           const Desc& weights) {
  const Desc x({rows, spec.k}, type_of(spec.dtype), Tag::ab);
  return describe(x, weights, Desc({rows, weights_columns(weights)}, Type::f32, Tag::ab));
}

bool all_accept(const MatrixSpec& spec, const Desc& weights) {
  for (std::int64_t rows : spec.rows) {
    try {
      describe_rows(spec, rows, weights);
    } catch (const dnnl::error&) {
      return false;
    }
  }
  return true;
}

Desc choose_layout(const MatrixSpec& spec, std::int64_t n) {
  const Type type = type_of(spec.dtype);
  for (std::int64_t rows : spec.rows) {
    const Desc wanted = describe_rows(spec, rows, Desc({spec.k, n}, type, Tag::any)).weights_desc();
    if (all_accept(spec, wanted)) return wanted;
  }
  return {{spec.k, n}, type, Tag::ba};
}

}  // namespace

Matrix pack(const MatrixSpec& spec, const std::byte* plain, Team& team) try {
  const Type type = type_of(spec.dtype);
  const std::int64_t step = block_columns(spec, team.count());
  Matrix out;
  out.impl_ = std::make_unique<Matrix::Impl>();
  out.impl_->spec = spec;
  const OneThread one;
  for (std::int64_t from = 0; from < spec.n; from += step) {
    const std::int64_t n = std::min(step, spec.n - from);
    out.impl_->blocks.push_back({from, n, choose_layout(spec, n), {}});
  }
  auto& blocks = out.impl_->blocks;
  spread(team, static_cast<std::int64_t>(blocks.size()), [&](std::int64_t begin, std::int64_t end) {
    const OneThread mine;
    const auto row_bytes = spec.k * static_cast<std::int64_t>(size_of(spec.dtype));
    for (std::int64_t i = begin; i < end; ++i) {
      Matrix::Impl::Block& b = blocks[static_cast<std::size_t>(i)];
      b.data = Memory(b.desc.get_size());
      reorder(Desc({spec.k, b.columns}, type, Tag::ba), plain + b.first * row_bytes, b.desc,
              b.data.data());
    }
  });
  return out;
} catch (const dnnl::error& e) {
  fail("onednn: packing [{},{}] for {} rows failed: {}", spec.n, spec.k, spec.rows[0], e.what());
}

struct Product::Impl {
  struct Block {
    std::int64_t first, columns;
    const void* weights;
    dnnl::matmul::primitive_desc desc;
    dnnl::matmul primitive;
    Operand x, w, y, scratch;

    Block(const Matrix::Impl::Block& of, const dnnl::matmul::primitive_desc& d)
        : first(of.first),
          columns(of.columns),
          weights(of.data.data()),
          desc(d),
          primitive(d),
          x(d.src_desc()),
          w(d.weights_desc()),
          y(d.dst_desc()),
          scratch(d.scratchpad_desc()) {}
    dnnl::stream stream{engine()};
  };
  std::vector<Block> blocks;
};

Product::Product(const Matrix& matrix, std::int64_t rows) try : impl_(std::make_unique<Impl>()) {
  const Matrix::Impl& m = *matrix.impl_;
  const OneThread one;
  for (const Matrix::Impl::Block& b : m.blocks) {
    impl_->blocks.emplace_back(b, describe_rows(m.spec, rows, b.desc));
  }
} catch (const dnnl::error& e) {
  fail("onednn: no product of {} rows: {}", rows, e.what());
}

Product::Product(Product&&) noexcept = default;
Product::~Product() = default;

std::size_t Product::scratch_bytes() const {
  std::size_t most = 0;
  for (const Impl::Block& b : impl_->blocks) {
    most = std::max(most, b.desc.scratchpad_desc().get_size());
  }
  return most;
}

int Product::blocks() const { return static_cast<int>(impl_->blocks.size()); }
std::int64_t Product::columns(int block) const {
  return impl_->blocks[static_cast<std::size_t>(block)].columns;
}

std::int64_t Product::first_column(int block) const {
  return impl_->blocks[static_cast<std::size_t>(block)].first;
}

bool Product::run(int block, const void* x, float* y, void* scratch) const noexcept {
  const Impl::Block& p = impl_->blocks[static_cast<std::size_t>(block)];
  p.x.at(x);
  p.w.at(p.weights);
  p.y.at(y);
  p.scratch.at(scratch);
  const dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, p.x.memory.get()},
                                  {DNNL_ARG_WEIGHTS, p.w.memory.get()},
                                  {DNNL_ARG_DST, p.y.memory.get()},
                                  {DNNL_ARG_SCRATCHPAD, p.scratch.memory.get()}};
  const OneThread one;
  dnnl_stream_t stream = p.stream.get();
  return dnnl_primitive_execute(p.primitive.get(), stream, 4, args) == dnnl_success &&
         dnnl_stream_wait(stream) == dnnl_success;
}

bool multiplies_bf16() try {
  const Desc x({16, 64}, Type::bf16, Tag::ab), w({64, 64}, Type::bf16, Tag::any);
  describe(x, w, Desc({16, 64}, Type::f32, Tag::ab));
  return true;
} catch (const dnnl::error&) {
  return false;
}

std::string version() {
  const dnnl_version_t* v = dnnl_version();
  return fmt::format("oneDNN {}.{}.{}", v->major, v->minor, v->patch);
}

}  // namespace tendon::cpu::onednn
