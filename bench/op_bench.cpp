// Every op at the shapes of shapes.h on the CPU backend. Choose with --benchmark_filter, for
// example 'linear/pi05_.*/bf16'.
#include <benchmark/benchmark.h>

#include "backends/cpu/cpu.h"
#include "support/op_cases.h"

namespace tendon {
namespace {

using support::CaseProgram;
using support::OpCase;

void run_case(benchmark::State& state, const OpCase& op_case) {
  CaseProgram made = op_case.make();
  const std::unique_ptr<Backend> backend = make_cpu();
  const std::unique_ptr<Executable> executable = backend->compile(std::move(made.program), {});
  for (std::size_t i = 0; i < made.contents.size(); ++i) {
    if (made.contents[i].empty()) continue;
    const Status status = executable->write({static_cast<std::int32_t>(i)}, made.contents[i]);
    if (!status.ok()) return state.SkipWithError(std::string(status.message()).c_str());
  }
  for (auto _ : state) {
    const Status status = executable->run(0);
    if (!status.ok()) return state.SkipWithError(std::string(status.message()).c_str());
  }
  using benchmark::Counter;
  const auto rate = Counter::kIsIterationInvariantRate;
  state.counters["FLOP/s"] = Counter(op_case.cost.flops, rate);
  state.counters["bytes/s"] = Counter(op_case.cost.bytes, rate);
}

}  // namespace
}  // namespace tendon

int main(int argc, char** argv) {
  for (const tendon::support::OpCase& c : tendon::support::op_cases()) {
    benchmark::RegisterBenchmark(c.name.c_str(), tendon::run_case, c)->UseRealTime();
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
