#include "backends/cpu/onednn.h"

#include <oneapi/dnnl/dnnl.hpp>

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

// A CPU engine has no state of its own; making one costs microseconds.
dnnl::engine engine() { return {dnnl::engine::kind::cpu, 0}; }

dnnl::matmul::primitive_desc describe(const Desc& x, const Desc& w, const Desc& y) {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
#if DNNL_VERSION_MAJOR >= 3
  return {engine(), x, w, y, attr};
#else
  return {dnnl::matmul::desc(x, w, y), attr, engine()};
#endif
}

struct Operand {
  dnnl::memory memory;
  explicit Operand(const Desc& desc) : memory(desc, engine(), nullptr) {}
  void at(const void* p) const { dnnl_memory_set_data_handle(memory.get(), const_cast<void*>(p)); }
};

}  // namespace

struct Matrix::Impl {
  MatrixSpec spec;
  Desc desc;
  Memory data;
};

Matrix::Matrix() = default;
Matrix::Matrix(Matrix&&) noexcept = default;
Matrix& Matrix::operator=(Matrix&&) noexcept = default;
Matrix::~Matrix() = default;
std::size_t Matrix::bytes() const { return impl_ ? impl_->data.bytes() : 0; }

Matrix pack(const MatrixSpec& spec, const std::byte* plain) try {
  const Type type = type_of(spec.dtype);
  const Desc x({spec.rows, spec.k}, type, Tag::ab), y({spec.rows, spec.n}, Type::f32, Tag::ab);
  const Desc from({spec.k, spec.n}, type, Tag::ba), any({spec.k, spec.n}, type, Tag::any);
  Matrix out;
  out.impl_ = std::make_unique<Matrix::Impl>();
  Matrix::Impl& m = *out.impl_;
  m.spec = spec;
  m.desc = describe(x, any, y).weights_desc();
  m.data = Memory(m.desc.get_size());
  dnnl::engine cpu = engine();
  dnnl::memory source(from, cpu, const_cast<std::byte*>(plain));
  dnnl::memory target(m.desc, cpu, m.data.data());
  dnnl::stream stream(cpu);
  dnnl::reorder(source, target).execute(stream, source, target);
  stream.wait();
  return out;
} catch (const dnnl::error& e) {
  fail("onednn: packing [{},{}] for {} rows failed: {}", spec.n, spec.k, spec.rows, e.what());
}

struct Product::Impl {
  dnnl::matmul::primitive_desc desc;
  dnnl::matmul primitive;
  dnnl::stream stream;
  Operand x, w, y, scratch;
  const void* weights;

  Impl(const dnnl::matmul::primitive_desc& d, const void* w_data)
      : desc(d),
        primitive(d),
        stream(engine()),
        x(d.src_desc()),
        w(d.weights_desc()),
        y(d.dst_desc()),
        scratch(d.scratchpad_desc()),
        weights(w_data) {}
};

Product::Product(const Matrix& matrix, std::int64_t rows, std::int64_t x_row) try {
  const Matrix::Impl& m = *matrix.impl_;
  const Desc x({rows, m.spec.k}, type_of(m.spec.dtype), dnnl::memory::dims{x_row, 1});
  const Desc y({rows, m.spec.n}, Type::f32, Tag::ab);
  impl_ = std::make_unique<Impl>(describe(x, m.desc, y), m.data.data());
} catch (const dnnl::error& e) {
  fail("onednn: no product of {} rows: {}", rows, e.what());
}

Product::Product(Product&&) noexcept = default;
Product::~Product() = default;

std::size_t Product::scratch_bytes() const { return impl_->desc.scratchpad_desc().get_size(); }

bool Product::run(const void* x, float* y, void* scratch) const noexcept {
  const Impl& p = *impl_;
  p.x.at(x);
  p.w.at(p.weights);
  p.y.at(y);
  p.scratch.at(scratch);
  const dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, p.x.memory.get()},
                                  {DNNL_ARG_WEIGHTS, p.w.memory.get()},
                                  {DNNL_ARG_DST, p.y.memory.get()},
                                  {DNNL_ARG_SCRATCHPAD, p.scratch.memory.get()}};
  return dnnl_primitive_execute(p.primitive.get(), p.stream.get(), 4, args) == dnnl_success &&
         dnnl_stream_wait(p.stream.get()) == dnnl_success;
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
