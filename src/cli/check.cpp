#include <fmt/core.h>

#include <memory>

#include "cli/command.h"
#include "engine/backends.h"
#include "engine/golden.h"

namespace tendon::cli {
namespace {

struct Options {
  std::string golden, cases = "*", dtype, device = "cpu";
  int threads = 0;
  int stages = 3;
};

std::string_view verdict(const GoldenResult& r) {
  switch (r.verdict) {
    case GoldenResult::Verdict::passed: return "passed";
    case GoldenResult::Verdict::skipped: return "skipped";
    case GoldenResult::Verdict::failed: return "FAILED";
  }
  return "";
}

void print(const GoldenResult& r, int stages) {
  fmt::print("{:<8} {}/{} {} {} times, {} stages", verdict(r), r.file, r.name, r.dtype, r.schedule,
             r.stages.size());
  if (!r.stages.empty()) fmt::print(", worst {:.3f} of its bound, median {:.3f}", r.worst, r.median);
  fmt::print("{}{}\n", r.reason.empty() ? "" : ": ", r.reason);
  std::vector<GoldenStage> worst = r.stages;
  std::stable_sort(worst.begin(), worst.end(),
                   [](const GoldenStage& a, const GoldenStage& b) { return a.ratio > b.ratio; });
  if (stages >= 0 && worst.size() > static_cast<std::size_t>(stages)) {
    worst.resize(static_cast<std::size_t>(stages));
  }
  for (const GoldenStage& s : worst) {
    fmt::print("           {:<32} error {:.3e}  bound {:.3e}  ratio {:.3f}{}\n", s.name, s.error,
               s.bound, s.ratio, s.passed ? "" : "  OVER");
  }
  for (const std::string& name : r.unmatched) fmt::print("           not compared: {}\n", name);
  std::fflush(stdout);
}

void run_golden(const Options& o, Context& context) {
  GoldenOptions g;
  g.folder = o.golden;
  g.cases = o.cases;
  g.dtype = o.dtype;
  g.threads = o.threads;
  g.backend = [&] { return make_backend(o.device); };
  int passed = 0, failed = 0, skipped = 0;
  run_goldens(g, [&](const GoldenResult& r) {
    print(r, o.stages);
    passed += r.verdict == GoldenResult::Verdict::passed;
    failed += r.verdict == GoldenResult::Verdict::failed;
    skipped += r.verdict == GoldenResult::Verdict::skipped;
  });
  fmt::print("{} passed, {} failed, {} skipped\n", passed, failed, skipped);
  if (failed > 0 || passed == 0) context.exit_code = 1;
}

}  // namespace

void add_check(CLI::App& app, Context& context) {
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("check", "compare with recordings of the original code");
  command->add_option("--golden", o->golden, "folder of recordings")->required();
  command->add_option("--case", o->cases, "glob over case names, or FILE/CASE");
  command->add_option("--dtype", o->dtype, "f32 or bf16; both where absent")
      ->check(CLI::IsMember({"f32", "bf16"}));
  command->add_option("--device", o->device, "cpu, cuda or reference");
  command->add_option("--threads", o->threads, "CPU threads, 0 for all");
  command->add_option("--stages", o->stages, "stages to list of each case, the worst first; -1: all");
  command->callback([o, &context] { run_golden(*o, context); });
}

}  // namespace tendon::cli
