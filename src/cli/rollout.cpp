#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "cli/command.h"
#include "cli/common.h"
#include "sim/rollout.h"
#include "sim/world.h"
#include "tendon/tendon.h"

namespace tendon::cli {
namespace {

struct Options {
  LoadFlags load;
  std::string blank, record;
  sim::RolloutOptions how;
  bool expert = false, as_json = false;
};

constexpr const char* kFooter =
    "In --prompt, {colour} is the target's, {other} another one's on the table, {absent} one that "
    "is not there, {base} the one to put it on; a colour in plain words makes its block the "
    "target.\n"
    "Example: tendon rollout assets/blocks --task blocks --episodes 20 --record episode.gif";

using nlohmann::json;

double milliseconds(double seconds) { return seconds * 1e3; }

// `policy` null: the expert drove.
json to_json(const sim::RolloutResult& result, const PolicyInfo* policy) {
  const int n = static_cast<int>(result.episodes.size());
  const sim::Interval rate = result.rate();
  json list = json::array();
  for (const sim::EpisodeOutcome& episode : result.episodes) {
    list.push_back({{"prompt", episode.prompt},
                    {"target", episode.target},
                    {"named", episode.named},
                    {"base", episode.base},
                    {"done", {episode.done.cube, episode.done.base}},
                    {"success", episode.success()},
                    {"ticks", episode.ticks}});
  }
  return {
      {"episodes", n},
      {"successes", result.successes()},
      {"others", result.others()},
      {"originals", result.originals()},
      {"nothing", n - result.successes() - result.others()},
      {"rate", static_cast<double>(result.successes()) / n},
      {"interval", {rate.low, rate.high}},
      {"mean_ticks", result.mean_ticks()},
      {"latency_ms",
       {{"p50", milliseconds(result.latency(0.5))},
        {"p90", milliseconds(result.latency(0.9))},
        {"p99", milliseconds(result.latency(0.99))},
        {"max", milliseconds(result.latency(1))}}},
      {"pictures_ms",
       {{"p50", milliseconds(result.drawing(0.5))}, {"p99", milliseconds(result.drawing(0.99))}}},
      {"inferences", result.latencies.size()},
      {"seconds", result.seconds},
      {"fingerprint", fmt::format("{:016x}", result.fingerprint)},
      {"policy", policy != nullptr ? describe(*policy) : json("expert")},
      {"physics", sim::physics_version()},
      {"list", list}};
}

void print_row(const char* name, int count, int all) {
  fmt::print("  {:<32} {:>4} of {} ({:.1f} %)\n", name, count, all, 100.0 * count / all);
}

void print_latency(const sim::RolloutResult& result, const PolicyInfo& policy) {
  fmt::print("  {:<32} p50 {:.2f}, p90 {:.2f}, p99 {:.2f}, max {:.2f} ms ({} calls, {} {})\n",
             "one inference", milliseconds(result.latency(0.5)), milliseconds(result.latency(0.9)),
             milliseconds(result.latency(0.99)), milliseconds(result.latency(1)),
             result.latencies.size(), policy.device, policy.dtype);
  fmt::print("  {:<32} p50 {:.2f}, p99 {:.2f} ms (one thread)\n", "drawing both pictures",
             milliseconds(result.drawing(0.5)), milliseconds(result.drawing(0.99)));
}

// `policy` null: the expert drove.
void print_table(const sim::RolloutResult& result, const PolicyInfo* policy) {
  const int n = static_cast<int>(result.episodes.size());
  const sim::Interval rate = result.rate();
  print_row("did what the prompt says", result.successes(), n);
  fmt::print("  {:<32} {:.1f} to {:.1f} %\n", "  with 95 % confidence", 100 * rate.low,
             100 * rate.high);
  print_row("did it to another block", result.others(), n);
  print_row("nothing in time", n - result.successes() - result.others(), n);
  if (result.mean_ticks() > 0) {
    fmt::print("  {:<32} {:.1f} ticks, {:.2f} s\n", "until it was done", result.mean_ticks(),
               result.mean_ticks() / sim::kControlHz);
  }
  if (policy != nullptr) print_latency(result, *policy);
  fmt::print("  {:<32} {:.1f} s, fingerprint {:016x}\n", "all episodes", result.seconds,
             result.fingerprint);
}

// One line that is written over: only where someone watches.
void show_progress(sim::RolloutOptions& how) {
  if (isatty(STDERR_FILENO) == 0) return;
  const auto successes = std::make_shared<int>(0);
  how.progress = [successes, all = how.episodes](int done, const sim::EpisodeOutcome& outcome) {
    *successes += outcome.success();
    fmt::print(stderr, "\r{} of {} episodes, {} did what was told {}", done, all, *successes,
               done == all ? "\n" : "");
    std::fflush(stderr);
  };
}

void report(const Options& o, const sim::RolloutResult& result, const PolicyInfo* policy) {
  if (o.as_json) {
    fmt::print("{}\n", to_json(result, policy).dump(1));
    return;
  }
  print_table(result, policy);
  if (!o.record.empty()) fmt::print("  {:<32} {}\n", "pictures", o.record);
}

void run(Options& o) {
  o.how.blanked = {o.blank == "base" || o.blank == "both", o.blank == "wrist" || o.blank == "both"};
  std::optional<sim::Recording> recording;
  if (!o.record.empty()) {
    recording.emplace(o.record);
    o.how.recording = &*recording;
  }
  show_progress(o.how);
  if (o.expert != o.load.model.empty()) {
    throw Error("rollout: either MODEL or --expert says what drives the arm");
  }
  std::optional<Policy> policy;
  if (!o.expert) policy = load_with_progress(o.load);
  const sim::Infer infer = [&policy](const Observation& seen, const InferOptions& how,
                                     Chunk& chunk) { return policy->infer(seen, how, chunk); };
  const sim::RolloutResult result =
      o.expert ? sim::rollout_by_expert(o.how) : sim::rollout(infer, o.how);
  report(o, result, policy ? &policy->info() : nullptr);
}

void add_loop_options(CLI::App& command, sim::RolloutOptions& how) {
  command.add_option("--episodes", how.episodes, "how many")->check(CLI::PositiveNumber);
  command.add_option("--seed", how.seed, "of scenes and noise");
  command
      .add_option("--execute", how.execute, "ticks between inferences; 0: 8, of the task blocks 4")
      ->check(CLI::NonNegativeNumber);
  command.add_option("--steps", how.steps, "denoising steps; 0: the contract's");
  command.add_option("--delay", how.delay, "ticks by which each chunk comes late")
      ->check(CLI::NonNegativeNumber);
  command.add_option("--table-speed", how.table_speed, "m/s, towards the middle");
  command.add_option("--ticks", how.most_ticks, "an episode's end, 20 a second; 0: the task's")
      ->check(CLI::NonNegativeNumber);
  command.add_option("--prompt", how.prompts,
                     "wordings for the episodes in turn; absent: the trained ones; repeat");
  command.add_option("--record-episodes", how.recorded, "how many the pictures show");
}

}  // namespace

void add_rollout(CLI::App& app, Context&) {
  auto o = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("rollout", "let a policy drive the simulated arm and count successes");
  add_load_flags(*command, o->load);
  command->get_option("MODEL")->required(false);
  command->add_flag("--expert", o->expert,
                    "no policy: the data's expert, which knows where everything is");
  const std::map<std::string, sim::Task> tasks = {{"pick_block", sim::Task::pick_block},
                                                  {"blocks", sim::Task::blocks}};
  command->add_option("--task", o->how.task, "pick_block, or blocks: pick up, push, put on another")
      ->transform(CLI::CheckedTransformer(tasks));
  add_loop_options(*command, o->how);
  command->add_option("--blank", o->blank, "cameras the policy gets in black")
      ->check(CLI::IsMember({"base", "wrist", "both"}));
  command->add_option("--record", o->record, "pictures of the first episode: .png or .gif");
  command->add_flag("--json", o->as_json, "print the result as JSON");
  command->footer(kFooter);
  command->callback([o] { run(*o); });
}

}  // namespace tendon::cli
