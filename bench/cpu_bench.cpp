// Products of the CPU backend at the shapes of the models, ours and oneDNN's side by side, and what
// the machine can do at best. Counters: GFLOP/s, and GB/s of weights.
#include <benchmark/benchmark.h>

#include "backends/cpu/ceilings.h"
#include "base/error.h"

namespace {

using tendon::CpuProducts;
using tendon::DType;
using tendon::ProductRate;
using tendon::ProductShape;

struct Row {
  const char* name;
  ProductShape shape;  // several copies where a step reads its weights from memory
};
constexpr Row kRows[] = {
    {"pi05_vision_qkv", {256, 3456, 1152, 1}},    {"pi05_vision_fc1", {256, 4304, 1152, 1}},
    {"pi05_vision_fc2", {256, 1152, 4304, 1}},    {"pi05_prefix_qkv", {532, 2560, 2048, 1}},
    {"pi05_prefix_gate", {532, 16384, 2048, 1}},  {"pi05_prefix_down", {532, 2048, 16384, 1}},
    {"pi05_expert_qkv", {10, 2560, 1024, 8}},     {"pi05_expert_gate", {10, 4096, 1024, 8}},
    {"pi05_expert_down", {10, 1024, 4096, 8}},    {"pi05_expert_50", {50, 4096, 1024, 8}},
    {"lingbot_prefix_up", {264, 11008, 2048, 1}}, {"fastwam_video_fc1", {98, 14336, 3072, 1}},
    {"demo_expert_up", {16, 384, 128, 16}},
};

struct Way {
  const char* name;
  DType dtype;
  CpuProducts products;
};
constexpr Way kWays[] = {
    {"own_bf16", DType::bf16, CpuProducts::own},
    {"own_f32", DType::f32, CpuProducts::own},
    {"onednn_bf16", DType::bf16, CpuProducts::onednn},
    {"onednn_f32", DType::f32, CpuProducts::onednn},
};

void count(benchmark::State& state, const ProductRate& rate) {
  state.counters["GFLOP/s"] = rate.flops / 1e9;
  state.counters["GB/s"] = rate.bytes / 1e9;
}

constexpr int kSamples = 9;

void product(benchmark::State& state, const Row& row, const Way& way) {
  for (auto _ : state) {
    try {
      tendon::ProductMeter meter(row.shape, way.dtype, {.products = way.products});
      for (int i = 0; i < kSamples; ++i) meter.sample(0);
      const ProductRate rate = meter.median();
      const auto& s = row.shape;
      state.SetIterationTime(2.0 * static_cast<double>(s.rows * s.n * s.k * s.copies) / rate.flops);
      count(state, rate);
    } catch (const tendon::Error& e) {
      state.SkipWithError(e.what());
      break;
    }
  }
}

void ceilings(benchmark::State& state) {
  for (auto _ : state) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      tendon::CeilingMeter meter(dtype);
      for (int i = 0; i < kSamples; ++i) meter.sample();
      const tendon::Ceilings c = meter.median();
      const std::string of(name(dtype));
      state.counters["stream GB/s"] = c.stream_bytes / 1e9;
      state.counters[of + " GFLOP/s"] = c.large.flops / 1e9;
      state.counters["10 rows " + of + " GFLOP/s"] = c.few_rows.flops / 1e9;
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::RegisterBenchmark("ceilings", ceilings)->Iterations(1)->Unit(benchmark::kSecond);
  const bool narrow = tendon::library_multiplies_bf16();
  for (const Row& row : kRows) {
    for (const Way& way : kWays) {
      if (way.dtype == DType::bf16 && way.products == CpuProducts::onednn && !narrow) continue;
      benchmark::RegisterBenchmark((std::string(row.name) + "/" + way.name).c_str(),
                                   [&row, &way](benchmark::State& s) { product(s, row, way); })
          ->Iterations(1)
          ->UseManualTime()
          ->Unit(benchmark::kMicrosecond);
    }
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
