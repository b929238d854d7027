#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "cli/command.h"
#include "cli/common.h"
#include "engine/backends.h"
#include "engine/golden.h"
#include "engine/inspect.h"
#include "measure/table.h"

namespace tendon::cli {
namespace {

struct Options {
  LoadFlags load;
  std::string golden, cases = "*", json_file;
  OpCheckOptions ops;
  int stages = 3;
};

std::string_view verdict(const GoldenResult& r) {
  switch (r.verdict) {
    case GoldenResult::Verdict::passed:
      return "passed";
    case GoldenResult::Verdict::skipped:
      return "skipped";
    case GoldenResult::Verdict::failed:
      return "FAILED";
  }
  return "";
}

void print(const GoldenResult& r, int stages) {
  fmt::print("{:<8} {}/{} {} {} times, {} stages", verdict(r), r.file, r.name, r.dtype, r.schedule,
             r.stages.size());
  if (!r.stages.empty())
    fmt::print(", worst {:.3f} of its bound, median {:.3f}", r.worst, r.median);
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

nlohmann::json to_json(const GoldenResult& r) {
  nlohmann::json stages = nlohmann::json::array();
  for (const GoldenStage& s : r.stages) {
    stages.push_back({{"stage", s.name},
                      {"error", s.error},
                      {"bound", s.bound},
                      {"ratio", s.ratio},
                      {"passed", s.passed}});
  }
  return {{"file", r.file},
          {"case", r.name},
          {"family", r.family},
          {"dtype", r.dtype},
          {"schedule", r.schedule},
          {"verdict", verdict(r)},
          {"reason", r.reason},
          {"worst", r.worst},
          {"median", r.median},
          {"unmatched", r.unmatched},
          {"stages", std::move(stages)}};
}

void run_golden(const Options& o, Context& context) {
  GoldenOptions g;
  g.folder = o.golden;
  g.cases = o.cases;
  g.dtype = o.load.options.dtype;
  g.threads = o.load.options.threads;
  g.backend = [&] { return make_backend(o.load.options.device); };
  int passed = 0, failed = 0, skipped = 0;
  nlohmann::json report = nlohmann::json::array();
  run_goldens(g, [&](const GoldenResult& r) {
    print(r, o.stages);
    report.push_back(to_json(r));
    passed += r.verdict == GoldenResult::Verdict::passed;
    failed += r.verdict == GoldenResult::Verdict::failed;
    skipped += r.verdict == GoldenResult::Verdict::skipped;
  });
  fmt::print("{} passed, {} failed, {} skipped\n", passed, failed, skipped);
  if (!o.json_file.empty()) write_file(o.json_file, report.dump(1));
  if (failed > 0 || passed == 0) context.exit_code = 1;
}

// Every op against the reference; the worst of each stage, and the first over its bound by name.
void run_ops(const Options& o, Context& context) {
  LoadOptions options = o.load.options;
  options.progress = progress();
  std::vector<std::string> order;
  std::map<std::string, OpCheck> worst;
  std::optional<OpCheck> first;
  std::size_t count = 0;
  check_ops(o.load.model, options, o.ops, [&](const OpCheck& c) {
    ++count;
    if (!c.passed && !first) first = c;
    const auto [at, fresh] = worst.emplace(c.stage, c);
    if (fresh) order.push_back(c.stage);
    if (!(c.error / c.bound <= at->second.error / at->second.bound)) at->second = c;
  });
  measure::Table table({"stage", "worst op", "kind", "error", "bound"});
  for (const std::string& stage : order) {
    const OpCheck& c = worst.at(stage);
    table.add(
        {stage, c.label, c.op, fmt::format("{:.2e}", c.error), fmt::format("{:.0e}", c.bound)});
  }
  fmt::print("{}", table.str());
  if (first) {
    fmt::print("{} ops compared; first over its bound: {} ({}), error {:.3e}, bound {:.0e}\n",
               count, first->label, first->op, first->error, first->bound);
    context.exit_code = 1;
  } else {
    fmt::print("{} ops compared, all within their bounds\n", count);
  }
}

}  // namespace

void add_check(CLI::App& app, Context& context) {
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "check", "compare ops with the reference, or stages with recordings of the original code");
  add_load_flags(*command, o->load);
  command->get_option("MODEL")->required(false);
  command->add_option("--golden", o->golden, "folder of recordings; no MODEL then");
  command->add_option("--case", o->cases, "glob over case names, or FILE/CASE");
  command->add_option("--json", o->json_file, "file for every stage of every case");
  command->add_option("--stages", o->stages,
                      "stages to list of each case, the worst first; -1: all");
  command->add_option("--cameras", o->ops.cameras, "of the call whose ops are compared");
  command->add_option("--tokens", o->ops.tokens, "of that call");
  command->footer(
      "Example: tendon check --golden tests/golden --case 'pi05*/*' --dtype f32\n"
      "         tendon check build/mini_pi05 --dtype bf16");
  command->callback([o, &context] {
    if (!o->golden.empty())
      run_golden(*o, context);
    else if (!o->load.model.empty())
      run_ops(*o, context);
    else
      fail("check: a MODEL or --golden FOLDER is wanted");
  });
}

}  // namespace tendon::cli
