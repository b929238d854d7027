#include "backends/cpu/cpu.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>

#include "backends/reference/reference.h"
#include "base/error.h"
#include "tests/support/allocations.h"

namespace tendon {
namespace {

// Numbers in [-1, 1) that differ between tensors and repeat nowhere near.
float value(std::int64_t seed, std::int64_t i) {
  std::uint64_t x = static_cast<std::uint64_t>(seed * 7919 + i) * 0x9e3779b97f4a7c15u;
  x ^= x >> 29;
  return static_cast<float>(static_cast<std::int64_t>(x % 2001) - 1000) / 1000.0f;
}

Weight weight(const Shape& shape, Format format, float scale = 1.0f) {
  Weight w;
  w.name = "weight " + shape.str();
  w.shape = shape;
  w.format = format;
  w.read = [=](std::int64_t first, std::int64_t count, float* out) {
    const std::int64_t width = shape.numel() / shape[0];
    for (std::int64_t i = 0; i < count * width; ++i) {
      out[i] = value(shape.numel(), first * width + i) * scale;
    }
  };
  return w;
}

std::vector<float> read_all(Executable& e, BufferRef ref) {
  const BufferSpec& spec = e.program().buffer(ref);
  std::vector<float> out(static_cast<std::size_t>(spec.shape.numel()));
  EXPECT_TRUE(e.read(ref, std::as_writable_bytes(std::span(out))).ok());
  return out;
}

// A decoder layer of every kind of step a model's loop has, x [1, 10, 96] updated in place.
struct Layer {
  std::unique_ptr<Program> program = std::make_unique<Program>();
  BufferRef x, table, ids;

  explicit Layer(DType dtype) {
    Program& p = *program;
    const Format format = dtype == DType::bf16 ? Format::bf16 : Format::f32;
    const auto w = [&](const Shape& shape, float scale) {
      return p.add(weight(shape, format, scale));
    };
    x = p.add(BufferSpec{"x", DType::f32, {1, 10, 96}});
    table = p.add(BufferSpec{"table", DType::f32, {4, 3 * 96}});
    ids = p.add(BufferSpec{"ids", DType::i32, {10}});
    const BufferRef cos = p.add(BufferSpec{"cos", DType::f32, {16, 8}});
    p.record_taps = true;
    Trace& t = p.traces.emplace_back("layer", p);
    const Value tab = t.buffer(table), in = t.buffer(x);
    const Value n = t.make(dtype, {1, 10, 96}), q = t.make(dtype, {1, 10, 4, 16});
    const Value k = t.make(dtype, {1, 10, 1, 16}), v = t.make(dtype, {1, 10, 1, 16});
    const Value o = t.make(dtype, {1, 10, 4, 16}), h = t.make(dtype, {1, 10, 200});
    const RowTable gate{tab, t.iteration(), 2 * 96};
    t.add(ops::RmsNorm{.x = in, .scale = {tab, t.iteration(), 0}, .out = n});
    t.add(ops::QkvRope{.x = n,
                       .weight = w({96, 96}, 0.2f),
                       .cos = t.buffer(cos),
                       .sin = t.buffer(cos),
                       .positions = t.buffer(ids),
                       .q = q,
                       .k = k,
                       .v = v});
    t.add(ops::Attention{.q = q, .keys = {{{.k = k, .v = v}, {}}}, .scale = 0.25f, .out = o});
    t.add(ops::Linear{.x = t.merge_last(o),
                      .weight = w({96, 64}, 0.2f),
                      .gate = gate,
                      .residual = in,
                      .out = in},
          "o_proj");
    t.add(ops::GatedLinear{.x = n, .gate = w({200, 96}, 0.2f), .up = w({200, 96}, 0.1f), .out = h});
    t.add(ops::Linear{.x = h,
                      .weight = w({96, 200}, 0.2f),
                      .bias = p.add(weight({96}, format)),
                      .act = Act::gelu_tanh,
                      .residual = in,
                      .out = in});
    t.tap("hidden", h);
  }

  std::unique_ptr<Executable> compile(Backend& backend) {
    auto e = backend.compile(std::move(program), {.threads = 2});
    std::vector<float> start(10 * 96), rows(4 * 3 * 96), angles(16 * 8, 0.6f);
    for (std::size_t i = 0; i < start.size(); ++i)
      start[i] = value(1, static_cast<std::int64_t>(i));
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = value(2, static_cast<std::int64_t>(i));
    EXPECT_TRUE(e->write(x, std::as_bytes(std::span(start))).ok());
    EXPECT_TRUE(e->write(table, std::as_bytes(std::span(rows))).ok());
    EXPECT_TRUE(e->write({3}, std::as_bytes(std::span(angles))).ok());
    return e;
  }
};

void expect_near(const std::vector<float>& a, const std::vector<float>& b, double bound) {
  ASSERT_EQ(a.size(), b.size());
  double off = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    off += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  EXPECT_LE(std::sqrt(off / norm), bound);
}

TEST(CpuTest, RepetitionsEqualTheReference) {
  for (const auto& [dtype, bound] : {std::pair{DType::f32, 1e-5}, std::pair{DType::bf16, 8e-3}}) {
    Layer mine(dtype), theirs(dtype);
    const BufferRef x = mine.x;
    const auto e = mine.compile(*make_cpu()), r = theirs.compile(*make_reference());
    ASSERT_TRUE(e->run(0, 1, 3).ok());
    ASSERT_TRUE(r->run(0, 1, 3).ok());
    expect_near(read_all(*e, x), read_all(*r, x), bound);
    const Value hidden = e->program().traces[0].taps()[0].value;
    expect_near(e->fetch(0, hidden), r->fetch(0, hidden), bound);
  }
}

// Two layers of a tower, 2 samples of 24 rows: threads share rows of either, some a part of each.
std::vector<float> run_tower(DType dtype, int threads) {
  auto program = std::make_unique<Program>();
  Program& p = *program;
  const Format format = dtype == DType::bf16 ? Format::bf16 : Format::f32;
  const auto w = [&](const Shape& shape, float scale) {
    return p.add(weight(shape, format, scale));
  };
  const BufferRef x = p.add(BufferSpec{"x", DType::f32, {2, 24, 96}});
  const BufferRef y = p.add(BufferSpec{"y", DType::f32, {2, 24, 96}});
  Trace& t = p.traces.emplace_back("tower", p);
  Value h = t.make(dtype, {2, 24, 96});
  t.add(ops::Copy{.x = t.buffer(x), .out = h});
  for (int i = 0; i < 2; ++i) {
    const Value n = t.make(dtype, {2, 24, 96}), q = t.make(dtype, {2, 24, 4, 24});
    const Value k = t.make(dtype, {2, 24, 4, 24}), v = t.make(dtype, {2, 24, 4, 24});
    const Value o = t.make(dtype, {2, 24, 4, 24}), a = t.make(dtype, {2, 24, 96});
    const Value m = t.make(dtype, {2, 24, 200}), sum = t.make(dtype, {2, 24, 96});
    t.add(ops::LayerNorm{.x = h, .eps = 1e-5f, .out = n});
    t.add(ops::QkvRope{.x = n, .weight = w({288, 96}, 0.2f), .q = q, .k = k, .v = v});
    t.add(ops::Attention{.q = q, .keys = {{{.k = k, .v = v}, {}}}, .scale = 0.2f, .out = o});
    t.add(ops::Linear{.x = t.merge_last(o), .weight = w({96, 96}, 0.2f), .residual = h, .out = a});
    t.add(ops::Linear{.x = a, .weight = w({200, 96}, 0.1f), .act = Act::gelu_tanh, .out = m});
    t.add(ops::Linear{.x = m, .weight = w({96, 200}, 0.1f), .out = n});
    t.add(ops::Add{.a = n, .b = a, .out = sum});
    h = sum;
  }
  t.add(ops::Copy{.x = h, .out = t.buffer(y)});
  const auto e = make_cpu()->compile(std::move(program), {.threads = threads});
  std::vector<float> in(2 * 24 * 96);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = value(9, static_cast<std::int64_t>(i));
  EXPECT_TRUE(e->write(x, std::as_bytes(std::span(in))).ok());
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(e->run(0, i, 2).ok());
  return read_all(*e, y);
}

TEST(CpuTest, ThreadsShareRowsWithoutAChangeOfResults) {
  for (DType dtype : {DType::f32, DType::bf16}) {
    const std::vector<float> alone = run_tower(dtype, 1);
    for (int threads : {2, 3, 5}) EXPECT_EQ(run_tower(dtype, threads), alone) << threads;
  }
}

std::ptrdiff_t threads_of_this_process() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"), {});
}

std::unique_ptr<Executable> multiply(std::int64_t width, int threads) {
  auto program = std::make_unique<Program>();
  const BufferRef x = program->add(BufferSpec{"x", DType::f32, {8, width}});
  const BufferRef y = program->add(BufferSpec{"y", DType::f32, {8, width}});
  Trace& t = program->traces.emplace_back("t", *program);
  t.add(ops::Linear{.x = t.buffer(x),
                    .weight = program->add(weight({width, width}, Format::f32)),
                    .out = t.buffer(y)});
  return make_cpu()->compile(std::move(program), {.threads = threads});
}

TEST(CpuTest, OnlyAProgramWorthSharingStartsThreads) {
  const std::ptrdiff_t before = threads_of_this_process();
  const auto small = multiply(64, 4);
  EXPECT_EQ(threads_of_this_process(), before);
  const auto large = multiply(512, 4);
  EXPECT_EQ(threads_of_this_process(), before + 3);
}

TEST(CpuTest, WarmCallsAllocateNothing) {
  Layer layer(DType::bf16);
  const auto e = layer.compile(*make_cpu());
  ASSERT_TRUE(e->run(0, 0, 2).ok());
  std::vector<float> data(96);
  const std::size_t before = support::allocations;
  const bool ok = e->write(layer.x, std::as_bytes(std::span(data))).ok() && e->run(0, 0, 4).ok() &&
                  e->wait().ok() && e->read(layer.x, std::as_writable_bytes(std::span(data))).ok();
  const Status outside = e->run(0, 3, 2);
  const std::size_t after = support::allocations;
  EXPECT_TRUE(ok);
  EXPECT_FALSE(outside.ok());
  EXPECT_EQ(after - before, 0u);
}

TEST(CpuTest, IndicesOutOfRangeAreRefused) {
  Layer layer(DType::f32);
  const auto e = layer.compile(*make_cpu());
  EXPECT_EQ(e->run(0, 4, 1).message(), "rms_norm: scale or shift: an index is outside its table");
  const std::int32_t far[] = {16};
  ASSERT_TRUE(e->write(layer.ids, std::as_bytes(std::span(far)), 4).ok());
  EXPECT_EQ(e->run(0).message(), "qkv_rope: positions: one is outside the tables");
  EXPECT_FALSE(e->run(1).ok());
  EXPECT_FALSE(e->write(layer.ids, std::as_bytes(std::span(far)), 37).ok());
}

TEST(CpuTest, ProfileHasEveryOp) {
  Layer layer(DType::f32);
  const auto e = layer.compile(*make_cpu());
  const auto times = e->profile(0, 3);
  ASSERT_EQ(times.size(), 6u);
  EXPECT_EQ(times[3].label, "o_proj");
  EXPECT_EQ(times[3].op, "linear");
  EXPECT_GT(times[3].seconds, 0);
  EXPECT_GE(e->memory().weights, 4u * (96 * 96 + 96 * 64 + 3 * 200 * 96));
}

// rows x 70 into 2500 columns: several blocks of the library, several tasks of ours, partial
// panels.
std::vector<float> multiply(const CpuOptions& options, std::int64_t rows) {
  auto program = std::make_unique<Program>();
  const BufferRef x = program->add(BufferSpec{"x", DType::f32, {rows, 70}});
  const BufferRef y = program->add(BufferSpec{"y", DType::f32, {rows, 2500}});
  Trace& t = program->traces.emplace_back("product", *program);
  const WeightRef w = program->add(weight({2500, 70}, Format::f32));
  const WeightRef bias = program->add(weight({2500}, Format::f32));
  t.add(ops::GatedLinear{.x = t.buffer(x),
                         .gate = w,
                         .gate_bias = bias,
                         .up = w,
                         .up_bias = bias,
                         .out = t.buffer(y)});
  const auto e = make_cpu(options)->compile(std::move(program), {.threads = 2});
  std::vector<float> in(static_cast<std::size_t>(rows * 70));
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = value(3, static_cast<std::int64_t>(i));
  EXPECT_TRUE(e->write(x, std::as_bytes(std::span(in))).ok());
  EXPECT_TRUE(e->run(0).ok());
  return read_all(*e, y);
}

TEST(CpuTest, EveryWayToMultiplyAgrees) {
  for (std::int64_t rows : {1, 24, 25, 1100}) {
    const std::vector<float> ours = multiply({.products = CpuProducts::own}, rows);
    expect_near(multiply({.products = CpuProducts::onednn}, rows), ours, 1e-6);
    expect_near(multiply({.widest = cpu::Isa::baseline}, rows), ours, 1e-6);
  }
}

// Stages of different lengths share a weight, and with it a layout.
TEST(CpuTest, OneMatrixServesEveryRowCount) {
  const auto run = [](CpuProducts products) {
    auto program = std::make_unique<Program>();
    const WeightRef w = program->add(weight({1100, 64}, Format::f32));
    const BufferRef x = program->add(BufferSpec{"x", DType::f32, {1200, 64}});
    const BufferRef y = program->add(BufferSpec{"y", DType::f32, {1200, 1100}});
    for (std::int64_t rows : {3, 1200, 1, 40}) {
      Trace& t = program->traces.emplace_back("t", *program);
      t.add(
          ops::Linear{.x = t.buffer(x, {rows, 64}), .weight = w, .out = t.buffer(y, {rows, 1100})});
    }
    const auto e = make_cpu({.products = products})->compile(std::move(program), {.threads = 2});
    std::vector<float> in(1200 * 64);
    for (std::size_t i = 0; i < in.size(); ++i) in[i] = value(5, static_cast<std::int64_t>(i));
    EXPECT_TRUE(e->write(x, std::as_bytes(std::span(in))).ok());
    std::vector<std::vector<float>> results;
    for (std::size_t trace = 0; trace < 4; ++trace) {
      EXPECT_TRUE(e->run(trace).ok());
      results.push_back(read_all(*e, y));
    }
    return results;
  };
  const auto ours = run(CpuProducts::own), theirs = run(CpuProducts::onednn);
  for (std::size_t i = 0; i < ours.size(); ++i) expect_near(theirs[i], ours[i], 1e-6);
}

// One embedding and one product of the same table, which must then stay where it lies.
TEST(CpuTest, WeightsAreReleasedOnceUnlessUsedInPlace) {
  auto program = std::make_unique<Program>();
  const std::vector<float> raw(8 * 6, 0.5f);
  int released_table = 0, released_matrix = 0;
  Weight table = weight({8, 6}, Format::f32), matrix = weight({8, 6}, Format::f32);
  table.raw = raw.data();
  table.release = [&] { ++released_table; };
  matrix.release = [&] { ++released_matrix; };
  const WeightRef t_ref = program->add(std::move(table)), m_ref = program->add(std::move(matrix));
  const BufferRef ids = program->add(BufferSpec{"ids", DType::i32, {3}});
  const BufferRef y = program->add(BufferSpec{"y", DType::f32, {3, 8}});
  for (int i = 0; i < 2; ++i) {
    Trace& t = program->traces.emplace_back("t", *program);
    const Value x = t.make(DType::f32, {3, 6});
    t.add(ops::Embed{.ids = t.buffer(ids), .table = t_ref, .scale = 2, .out = x});
    t.add(ops::Linear{.x = x, .weight = i == 0 ? t_ref : m_ref, .out = t.buffer(y)});
  }
  std::vector<double> done;
  const auto e = make_cpu()->compile(
      std::move(program),
      {.threads = 2, .progress = [&](std::string_view, double d) { done.push_back(d); }});
  EXPECT_EQ(released_table, 0);
  EXPECT_EQ(released_matrix, 1);
  EXPECT_EQ(done.back(), 1.0);
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
  const std::int32_t bad[] = {0, 8, 1};
  ASSERT_TRUE(e->write(ids, std::as_bytes(std::span(bad))).ok());
  EXPECT_EQ(e->run(0).message(), "embed: ids: one is outside the table");
}

TEST(CpuTest, TroubleInAThreadOfPackingIsThrown) {
  auto program = std::make_unique<Program>();
  Weight w = weight({512, 64}, Format::bf16);
  w.read = [](std::int64_t first, std::int64_t, float*) {
    if (first > 400) throw Error("w: row 401 holds NaN");
  };
  Trace& t = program->traces.emplace_back("t", *program);
  const BufferRef x = program->add(BufferSpec{"x", DType::f32, {2, 64}});
  const BufferRef y = program->add(BufferSpec{"y", DType::f32, {2, 512}});
  t.add(ops::Linear{.x = t.buffer(x), .weight = program->add(std::move(w)), .out = t.buffer(y)});
  EXPECT_THROW(make_cpu()->compile(std::move(program), {.threads = 2}), Error);
}

}  // namespace
}  // namespace tendon
