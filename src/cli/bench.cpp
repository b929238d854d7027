#include <fmt/core.h>
#include <sys/resource.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/error.h"
#include "base/rng.h"
#include "cli/command.h"
#include "cli/common.h"
#include "engine/inspect.h"
#include "measure/roofline.h"
#include "measure/table.h"
#include "measure/timing.h"
#include "measure/units.h"

namespace tendon::cli {
namespace {

using nlohmann::json;

struct Options {
  LoadFlags load;
  int cameras = 0, tokens = 20, steps = 0, runs = 20;
  double seconds = 3;
  bool ops = false, as_json = false;
};

// An observation with `cameras` pictures of noise and a prompt of about `tokens` tokens.
struct Scene {
  std::vector<std::vector<std::uint8_t>> pixels;
  Observation seen;
};

Scene make_scene(const PolicyInfo& info, const Options& o) {
  constexpr int kHeight = 480, kWidth = 640;
  Scene scene;
  scene.pixels.reserve(8);
  int left = o.cameras;
  for (const PolicyInfo::Input& in : info.inputs) {
    if (in.size > 0) {
      scene.seen.state.push_back(
          {in.key, std::vector<double>(static_cast<std::size_t>(in.size), 0.1)});
    } else if (in.required || left > 0) {
      auto& pixels = scene.pixels.emplace_back(static_cast<std::size_t>(kHeight) * kWidth * 3);
      for (std::size_t i = 0; i < pixels.size(); ++i) {
        pixels[i] = static_cast<std::uint8_t>(synthetic_bits(scene.pixels.size(), i) >> 56);
      }
      scene.seen.cameras.push_back({in.key, {pixels.data(), kHeight, kWidth, 0}});
      --left;
    }
  }
  for (int i = 0; i < o.tokens / 2; ++i) scene.seen.prompt += i ? " up" : "pick";
  return scene;
}

struct Timed {
  std::vector<double> total;
  std::map<std::string, std::vector<double>> stages;
  std::vector<std::string> order;
  double first = 0;
  double peak_bytes = 0;  // of the process after the first call, before limits are measured
  DeviceLimits limits;
};

double peak_bytes() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  return static_cast<double>(used.ru_maxrss) * 1024;
}

double sample(LimitsMeter& meter) {
  const Stopwatch watch;
  meter.sample();
  return watch.seconds();
}

// Calls and samples of the machine's limits in turns, so that whatever else runs on the machine
// meets both alike: medians of the one are held against medians of the other. A sample comes
// between any two calls, or less often where samples would take over a fifth of the time.
Timed time_policy(Policy& policy, const Scene& scene, const Options& o) {
  constexpr double kSampleShare = 0.25;
  Timed timed;
  Chunk chunk;
  const auto call = [&] {
    const Status status = policy.infer(scene.seen, {.steps = o.steps}, chunk);
    require(status.ok(), "{}", status.message());
  };
  call();
  timed.first = chunk.seconds;
  timed.peak_bytes = peak_bytes();
  LimitsMeter meter(o.load.options.device, policy.info().dtype, o.load.options.threads);
  double spent = 0, sampled = sample(meter);
  for (int i = 0; i < o.runs || spent < o.seconds; ++i) {
    if (i >= o.runs && i >= 2000) break;
    call();
    spent += chunk.seconds;
    timed.total.push_back(chunk.seconds);
    for (const auto& [stage, seconds] : chunk.timing) {
      auto& all = timed.stages[std::string(stage)];
      if (all.empty()) timed.order.emplace_back(stage);
      all.push_back(seconds);
    }
    if (sampled <= kSampleShare * spent) sampled += sample(meter);
  }
  timed.limits = meter.median();
  return timed;
}

json to_json(const measure::Percentiles& p) {
  return {{"p50", p.p50}, {"p90", p.p90}, {"p99", p.p99}, {"max", p.max}, {"n", p.count}};
}

struct StageSum {
  double flops = 0, bytes = 0, floor = 0;
};

// Work of a stage and the least time this machine needs for it. Ops of few rows are held against
// the rate that products of few rows reach here.
StageSum sum(const std::vector<StageProfile>& all, const std::string& stage,
             const DeviceLimits& limits) {
  StageSum s;
  for (const StageProfile& p : all) {
    if (p.stage != stage) continue;
    const double rate = stage == "denoise" ? limits.few_row_flops : limits.flops;
    for (const auto& step : p.steps) {
      s.flops += step.cost.flops * p.count;
      s.bytes += step.cost.bytes * p.count;
      s.floor += std::max(step.cost.flops / rate, step.cost.bytes / limits.bytes) * p.count;
    }
  }
  return s;
}

void print_stages(const Timed& timed, const std::vector<StageProfile>& profile,
                  const DeviceLimits& limits, json* out) {
  measure::Table table({"stage", "p50", "p90", "p99", "max", "work", "rate", "floor", "share"});
  const auto add = [&](const std::string& name, const std::vector<double>& seconds) {
    const measure::Percentiles p = measure::percentiles(seconds);
    const StageSum s = sum(profile, name, limits);
    const bool known = s.flops > 0;
    table.add({name, measure::format_seconds(p.p50), measure::format_seconds(p.p90),
               measure::format_seconds(p.p99), measure::format_seconds(p.max),
               known ? measure::format_count(s.flops) + "FLOP" : "",
               known ? measure::format_rate(s.flops / p.p50, "FLOP") : "",
               known ? measure::format_seconds(s.floor) : "",
               known ? measure::format_share(s.floor / p.p50) : ""});
    if (out) {
      json j = to_json(p);
      j["flops"] = s.flops, j["bytes"] = s.bytes, j["floor"] = s.floor;
      (*out)["stages"][name] = j;
    }
  };
  for (const std::string& stage : timed.order) add(stage, timed.stages.at(stage));
  add("total", timed.total);
  if (!out) fmt::print("{}", table.str());
}

void print_ops(const std::vector<StageProfile>& profile, const DeviceLimits& limits, json* out) {
  for (const StageProfile& p : profile) {
    const bool few = p.stage == "denoise";
    const auto rows = measure::roofline(
        p.steps, {few ? limits.few_row_flops : limits.flops, limits.bytes}, p.count);
    if (!out) {
      fmt::print("\n{} ({}, {} runs a call)\n{}", p.stage, p.trace, p.count,
                 measure::roofline_table(rows));
      continue;
    }
    for (const auto& r : rows) {
      (*out)["ops"].push_back({{"stage", p.stage},
                               {"op", r.op},
                               {"label", r.label},
                               {"count", r.count},
                               {"seconds", r.seconds},
                               {"flops", r.flops},
                               {"bytes", r.bytes},
                               {"share", r.share()}});
    }
  }
}

void run(const Options& o) {
  Policy policy = load_with_progress(o.load);
  const PolicyInfo& info = policy.info();
  const Scene scene = make_scene(info, o);
  const Timed timed = time_policy(policy, scene, o);
  const DeviceLimits& limits = timed.limits;
  const int steps = o.steps > 0 ? o.steps : info.default_steps;
  const auto profile = profile_stages(policy, static_cast<int>(scene.seen.cameras.size()), o.tokens,
                                      steps, o.ops ? 5 : 1);
  json report;
  json* out = o.as_json ? &report : nullptr;
  if (out) {
    report = describe(info);
    report["limits"] = {{"flops", limits.flops},
                        {"few_row_flops", limits.few_row_flops},
                        {"bytes", limits.bytes},
                        {"samples", limits.samples}};
    report["first"] = timed.first;
    report["peak_memory"] = timed.peak_bytes;
  } else {
    print_info(info);
    fmt::print("limits     {} in products, {} with 10 rows, memory {}; medians of {} samples\n",
               measure::format_rate(limits.flops, "FLOP"),
               measure::format_rate(limits.few_row_flops, "FLOP"),
               measure::format_rate(limits.bytes, "B"), limits.samples);
    fmt::print("peak       {} of memory, loading and the first call\n",
               measure::format_bytes(timed.peak_bytes));
    fmt::print("first call {}, then {} calls\n\n", measure::format_seconds(timed.first),
               timed.total.size());
  }
  print_stages(timed, profile, limits, out);
  if (o.ops) print_ops(profile, limits, out);
  if (out) fmt::print("{}\n", report.dump(1));
}

}  // namespace

void add_bench(CLI::App& app, Context&) {
  auto o = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("bench", "latency per stage, and its distance to the limit");
  add_load_flags(*command, o->load);
  command->add_option("--cameras", o->cameras, "pictures given; 0: those that are required");
  command->add_option("--tokens", o->tokens, "about how many prompt tokens");
  command->add_option("--steps", o->steps, "denoising steps; 0: the contract's");
  command->add_option("--runs", o->runs, "calls at least");
  command->add_option("--seconds", o->seconds, "and as long as this");
  command->add_flag("--ops", o->ops, "each op beside its floor");
  command->add_flag("--json", o->as_json, "print JSON");
  command->footer("Example: tendon bench build/mini_pi05 --ops");
  command->callback([o] { run(*o); });
}

}  // namespace tendon::cli
