// What every backend promises beyond its ops: buffers, repetitions, taps, profiles.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "backends/cpu/cpu.h"
#include "backends/reference/reference.h"
#include "support/values.h"

namespace tendon {
namespace {

struct Maker {
  const char* name;
  std::function<std::unique_ptr<Backend>()> make;
};

class BackendTest : public testing::TestWithParam<Maker> {
 protected:
  BackendTest() { program_->traces.emplace_back("t", *program_); }

  Trace& trace() { return program_->traces[0]; }
  BufferRef buffer(const Shape& shape, DType dtype = DType::f32) {
    return program_->add(BufferSpec{"b", dtype, shape});
  }
  void compile() {
    backend_ = GetParam().make();
    executable_ = backend_->compile(std::move(program_), {.threads = 1});
  }
  void write(BufferRef to, const std::vector<float>& values, std::size_t offset = 0) {
    const Status s = executable_->write(to, std::as_bytes(std::span(values)), offset);
    EXPECT_TRUE(s.ok()) << s.message();
  }
  void run(int first = 0, int count = 1) {
    const Status s = executable_->run(0, first, count);
    EXPECT_TRUE(s.ok()) << s.message();
    EXPECT_TRUE(executable_->wait().ok());
  }
  std::vector<float> read(BufferRef from, std::size_t count, std::size_t offset = 0) {
    std::vector<float> values(count);
    const Status s = executable_->read(from, std::as_writable_bytes(std::span(values)), offset);
    EXPECT_TRUE(s.ok()) << s.message();
    return values;
  }

  using Floats = std::vector<float>;
  std::unique_ptr<Program> program_ = std::make_unique<Program>();
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Executable> executable_;
};

TEST_P(BackendTest, BuffersAreZeroOrInitialAndWrittenInParts) {
  const BufferRef zero = buffer({4});
  const BufferRef table = program_->constant("c", DType::f32, {4}, Floats{1, 2, 3, 4});
  compile();
  EXPECT_EQ(read(zero, 4), (Floats{0, 0, 0, 0}));
  EXPECT_EQ(read(table, 4), (Floats{1, 2, 3, 4}));
  EXPECT_TRUE(executable_->program().initial.empty());
  write(zero, {7, 8}, 4);
  EXPECT_EQ(read(zero, 4), (Floats{0, 7, 8, 0}));
  EXPECT_EQ(read(zero, 2, 8), (Floats{8, 0}));
  EXPECT_GE(executable_->memory().buffers, 32u);
}

TEST_P(BackendTest, AccessOutsideABufferIsRefused) {
  const BufferRef b = buffer({4});
  compile();
  std::byte bytes[32] = {};
  EXPECT_FALSE(executable_->write(b, std::span(bytes, 17)).ok());
  EXPECT_FALSE(executable_->write(b, std::span(bytes, 4), 13).ok());
  EXPECT_FALSE(executable_->read(b, std::span(bytes, 8), 12).ok());
  EXPECT_FALSE(executable_->read(b, std::span(bytes, 1), static_cast<std::size_t>(-1)).ok());
  EXPECT_FALSE(executable_->write({5}, std::span(bytes, 1)).ok());
  EXPECT_FALSE(executable_->run(3).ok());
}

TEST_P(BackendTest, RepetitionsCountOnFromTheFirst) {
  const BufferRef sum = buffer({1, 2});
  const BufferRef table =
      program_->constant("c", DType::f32, {4, 2}, Floats{1, 2, 10, 20, 100, 200, 5, 5});
  Trace& t = trace();
  const Value row = t.make(DType::f32, {1, 2});
  t.add(ops::GatherRows{t.buffer(table), t.iteration(), row});
  t.add(ops::Add{t.buffer(sum), row, t.buffer(sum)});
  compile();
  run(1, 2);
  EXPECT_EQ(read(sum, 2), (Floats{110, 220}));
  run(0);
  EXPECT_EQ(read(sum, 2), (Floats{111, 222}));
}

TEST_P(BackendTest, TracesShareBuffers) {
  const BufferRef in = buffer({1, 2}), between = buffer({1, 2}), out = buffer({1, 2});
  program_->traces.emplace_back("second", *program_);
  Trace &first = program_->traces[0], &second = program_->traces[1];
  first.add(ops::Add{first.buffer(in), first.buffer(in), first.buffer(between)});
  second.add(ops::Mul{second.buffer(between), second.buffer(in), second.buffer(out)});
  compile();
  write(in, {3, 5});
  run();
  ASSERT_TRUE(executable_->run(1).ok());
  EXPECT_EQ(read(out, 2), (Floats{18, 50}));
}

TEST_P(BackendTest, TappedValuesAreFetchedOthersAreNot) {
  program_->record_taps = true;
  const BufferRef in = buffer({2, 8}), out = buffer({2, 8});
  Trace& t = trace();
  const Value a = t.make(DType::bf16, {2, 8}), b = t.make(DType::f32, {2, 8});
  const Value c = t.make(DType::f32, {2, 8});
  t.add(ops::Add{t.buffer(in), t.buffer(in), a});
  t.tap("middle", t.columns(a, 2, 3));
  t.add(ops::Add{a, t.buffer(in), b});
  t.add(ops::Add{b, b, c});
  t.add(ops::Add{c, c, t.buffer(out)});
  const Value tapped = t.taps()[0].value;
  compile();
  Floats x;
  for (int i = 0; i < 16; ++i) x.push_back(static_cast<float>(i));
  write(in, x);
  run();
  EXPECT_EQ(executable_->fetch(0, tapped), (Floats{4, 6, 8, 20, 22, 24}));
  EXPECT_EQ(executable_->fetch(0, t.buffer(out))[15], 180);
  EXPECT_THROW(executable_->fetch(0, b), Error);
}

TEST_P(BackendTest, ALongChainThroughTheArenaEqualsTheReference) {
  const auto record = [](Program& p) {
    Trace& t = p.traces.emplace_back("t", p);
    const BufferRef in = p.add(BufferSpec{"in", DType::f32, {5, 24}});
    const BufferRef out = p.add(BufferSpec{"out", DType::f32, {5, 24}});
    Value x = t.make(DType::f32, {5, 24});
    t.add(ops::Copy{t.buffer(in), x});
    for (int i = 0; i < 12; ++i) {
      const auto matrix = [&](std::int64_t n, std::int64_t k, int seed) {
        const std::string name = "w" + std::to_string(10 * i + seed);
        return p.add(Weight{.name = name,
                            .shape = {n, k},
                            .read = [name, k](std::int64_t first, std::int64_t count, float* to) {
                              const std::uint64_t hash = support::name_hash(name);
                              for (std::int64_t j = 0; j < count * k; ++j) {
                                to[j] = 0.3f * support::unit(hash, first * k + j);
                              }
                            }});
      };
      const Value n = t.make(DType::f32, {5, 24}), h = t.make(DType::f32, {5, 40});
      t.add(ops::RmsNorm{.x = x, .out = n});
      t.add(ops::GatedLinear{.x = n, .gate = matrix(40, 24, 0), .up = matrix(40, 24, 1), .out = h});
      t.add(ops::Linear{.x = h, .weight = matrix(24, 40, 2), .residual = x, .out = x});
    }
    t.add(ops::Copy{x, t.buffer(out)});
  };
  const Floats x = support::units("chain", 120);
  Floats results[2];
  for (int i = 0; i < 2; ++i) {
    auto program = std::make_unique<Program>();
    record(*program);
    backend_ = i == 0 ? make_reference() : GetParam().make();
    executable_ = backend_->compile(std::move(program), {});
    write({0}, x);
    run();
    results[i] = read({1}, 120);
  }
  for (std::size_t i = 0; i < 120; ++i) EXPECT_NEAR(results[1][i], results[0][i], 2e-5f);
}

TEST_P(BackendTest, ProfilesEveryStepWithItsCost) {
  const BufferRef in = buffer({3, 16}), out = buffer({3, 16});
  Trace& t = trace();
  const Value middle = t.make(DType::f32, {3, 16});
  t.add(ops::RmsNorm{.x = t.buffer(in), .out = middle}, "norm");
  t.add(ops::Activation{middle, Act::silu, t.buffer(out)}, "act");
  compile();
  const std::vector<Executable::StepTime> steps = executable_->profile(0, 3);
  ASSERT_EQ(steps.size(), 2u);
  EXPECT_EQ(steps[0].op, "rms_norm");
  EXPECT_EQ(steps[0].label, "norm");
  EXPECT_EQ(steps[1].cost.bytes, 2 * 3 * 16 * 4);
  EXPECT_GT(steps[0].seconds, 0);
}

TEST_P(BackendTest, WeightsAreReleasedOnceAfterPacking) {
  int released = 0, reads_after_release = 0;
  const WeightRef w = program_->add(Weight{.name = "w",
                                           .shape = {8, 8},
                                           .read =
                                               [&](std::int64_t, std::int64_t count, float* out) {
                                                 if (released > 0) ++reads_after_release;
                                                 std::fill_n(out, count * 8, 1.0f);
                                               },
                                           .release = [&] { ++released; }});
  const BufferRef in = buffer({1, 8}), out = buffer({1, 8});
  trace().add(ops::Linear{.x = trace().buffer(in), .weight = w, .out = trace().buffer(out)});
  compile();
  EXPECT_EQ(released, 1);
  write(in, Floats(8, 2.0f));
  run();
  EXPECT_EQ(read(out, 8), Floats(8, 16.0f));
  EXPECT_EQ(reads_after_release, 0);
}

TEST_P(BackendTest, AnUnreadableWeightStopsTheCompilation) {
  const WeightRef w = program_->add(
      Weight{.name = "w", .shape = {8, 8}, .read = [](std::int64_t, std::int64_t, float*) {
               throw Error("w: it holds a NaN");
             }});
  trace().add(ops::Linear{
      .x = trace().buffer(buffer({1, 8})), .weight = w, .out = trace().buffer(buffer({1, 8}))});
  try {
    compile();
    FAIL() << "it compiled";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("NaN"), std::string::npos) << e.what();
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, BackendTest,
                         testing::Values(Maker{"reference", [] { return make_reference(); }},
                                         Maker{"cpu", [] { return make_cpu(); }}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace tendon
