// The acceptance of a backend on a GPU machine: every op at every shape against the reference, then
// whole models at their published sizes with generated weights. Text to stdout, JSON to a file.
//   gpu_acceptance ops [PATTERN] [--json FILE]
//   gpu_acceptance time WORKLOAD.. [--runs N] [--ops] [--captured | --persistent] [--compare]
//   [--cache FILE]
//   [--idle SECONDS] [--json FILE]
// --steps-only shrinks all but the denoising step; --dims JSON changes dimensions of all workloads.
#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <new>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "backends/cuda/cuda.h"
#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"
#include "base/text.h"
#include "models/family.h"
#include "support/op_cases.h"
#include "weights/synthetic.h"

namespace {
std::atomic<std::size_t> allocations{0};
}

void* operator new(std::size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* p = std::malloc(bytes ? bytes : 1)) return p;
  throw std::bad_alloc();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace tendon {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

struct Arguments {
  std::vector<std::string> words;
  std::string json_file, cache, dims = "{}";
  int runs = 300, idle = 0;
  bool ops = false, captured = false, persistent = false, compare = false, steps_only = false;
};

Arguments parse(int argc, char** argv) {
  Arguments a;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const bool more = i + 1 < argc;
    if (word == "--json" && more) {
      a.json_file = argv[++i];
    } else if (word == "--cache" && more) {
      a.cache = argv[++i];
    } else if (word == "--runs" && more) {
      a.runs = std::max(1, std::atoi(argv[++i]));
    } else if (word == "--idle" && more) {
      a.idle = std::max(0, std::atoi(argv[++i]));
    } else if (word == "--dims" && more) {
      a.dims = argv[++i];
    } else if (word == "--steps-only") {
      a.steps_only = true;
    } else if (word == "--ops") {
      a.ops = true;
    } else if (word == "--compare") {
      a.compare = true;
    } else if (word == "--persistent") {
      a.persistent = true;
    } else if (word == "--captured") {
      a.captured = true;
    } else {
      a.words.push_back(word);
    }
  }
  return a;
}

int run_ops(const Arguments& a, json& report) {
  const std::string pattern = a.words.size() > 1 ? a.words[1] : "*";
  const std::unique_ptr<Backend> backend = make_cuda({.cache = a.cache});
  fmt::print("{}\n", backend->description());
  int passed = 0, failed = 0;
  for (const support::OpCase& c : support::op_cases()) {
    if (!glob_match(pattern, c.name)) continue;
    const support::OpResult r = support::run_op_case(c, *backend);
    report.push_back({{"case", c.name},
                      {"error", r.error},
                      {"bound", r.bound},
                      {"row_error", r.row_error},
                      {"passed", r.passed()},
                      {"problem", r.problem}});
    (r.passed() ? passed : failed) += 1;
    if (!r.passed()) {
      fmt::print("FAILED {}: error {:.2e} of {:.2e}, of a row {:.2e} of {:.2e} {}\n", c.name,
                 r.error, r.bound, r.row_error, r.row_bound, r.problem);
    }
    std::fflush(stdout);
  }
  fmt::print("ops: {} passed, {} failed\n", passed, failed);
  return failed == 0 && passed > 0 ? 0 : 1;
}

struct Workload {
  const char* name;
  const char* family;
  const char* dims;   // merged over the published ones
  const char* small;  // what shrinks all but the step
  int cameras, tokens, capacity, context;
};
constexpr const char* kSmallPi =
    R"({"vision_layers": 1, "vision_mlp": 64, "prefix_width": 64, "prefix_mlp": 64,
        "vocab": 1024})";
constexpr const char* kSmallLingBot =
    R"({"v_depth": 1, "v_full": [0], "v_mlp": 64, "width": 64, "mlp": 64, "vocab": 1024})";
constexpr const char* kSmallFastWam =
    R"({"video_hidden": 64, "video_ffn": 64, "vae_width": 32, "umt5_layers": 1, "umt5_ffn": 64,
        "vocab": 1024})";
constexpr Workload kWorkloads[] = {
    {"W1", "pi05", R"({"horizon": 10})", kSmallPi, 2, 20, 32, 0},
    {"W2", "pi05", "{}", kSmallPi, 3, 200, 200, 0},
    {"pi0", "pi0", "{}", kSmallPi, 3, 48, 48, 0},
    {"W3", "lingbot_vla", "{}", kSmallLingBot, 3, 72, 72, 0},
    {"W4", "fastwam", "{}", kSmallFastWam, 1, 128, 128, 128},
};

// A model at its published size, compiled, with one call's inputs.
class Loaded {
 public:
  Loaded(const Workload& w, const Arguments& a) : workload_(w), family_(family(w.family)) {
    dims_ = family_.full_dims();
    dims_.merge_patch(json::parse(w.dims));
    if (a.steps_only) dims_.merge_patch(json::parse(w.small));
    dims_.merge_patch(json::parse(a.dims));
    std::vector<TensorSpec> specs = family_.tensors(dims_);
    for (TensorSpec& t : specs) {
      for (const auto& [name, rule] : family_.named_after) {
        if (t.name == name) t.rule_name = rule;
      }
    }
    SyntheticRule rule;
    rule.factors = family_.factors;
    checkpoint_ = synthetic_checkpoint(specs, rule);
    ModelOptions o;
    o.max_steps = 16;
    o.token_buckets = {w.capacity};
    o.camera_counts = {w.cameras};
    model_ = family_.make(dims_, o, checkpoint_);
    auto program = std::make_unique<Program>();
    model_->record(*program);
    auto initial = std::move(program->initial);
    const auto backend = make_cuda({.steps = a.captured     ? StepMode::captured
                                             : a.persistent ? StepMode::persistent
                                                            : StepMode::automatic,
                                    .cache = a.cache});
    executable_ = backend->compile(std::move(program), {});
    for (const auto& [buffer, bytes] : initial) {
      const Status status = executable_->write(buffer, bytes);
      require(status.ok(), "{}", status.message());
    }
    make_input();
  }

  // Seconds of one call from host inputs to the chunk on the host.
  double call() {
    StageRunner runner(*executable_);
    runner.begin();
    const auto start = Clock::now();
    const Status status = model_->run(input_, runner, chunk_);
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    require(status.ok(), "{}", status.message());
    return seconds;
  }
  // Seconds of one stage alone, repeated.
  double stage(const Model::StageTrace& s, int runs) {
    std::vector<double> all;
    for (int i = 0; i < runs; ++i) {
      const auto start = Clock::now();
      Status status = executable_->run(s.trace, 0, s.count);
      if (status.ok()) status = executable_->wait();
      require(status.ok(), "{}", status.message());
      all.push_back(std::chrono::duration<double>(Clock::now() - start).count());
    }
    std::nth_element(all.begin(), all.begin() + runs / 2, all.end());
    return all[static_cast<std::size_t>(runs / 2)];
  }
  std::vector<Model::StageTrace> stages() const {
    return model_->stages(workload_.cameras, workload_.tokens, 10);
  }
  Executable& executable() { return *executable_; }
  const std::vector<float>& chunk() const { return chunk_; }

 private:
  void make_input() {
    const Model::Dimensions d = model_->dimensions();
    const std::size_t pixels = static_cast<std::size_t>(d.image_height * d.image_width * 3);
    for (int i = 0; i < workload_.cameras; ++i) {
      images_.emplace_back(pixels);
      fill_synthetic_input(fmt::format("input.camera{}", i), 1.0f, images_.back());
    }
    ModelSample sample;
    for (const auto& image : images_) sample.cameras.push_back(image.data());
    for (int i = 0; i < workload_.tokens; ++i) tokens_.push_back(3 + i * 37 % 1000);
    sample.tokens = tokens_;
    state_.resize(static_cast<std::size_t>(d.state));
    fill_synthetic_input("input.state", 1.0f, state_);
    sample.state = state_;
    if (workload_.context) {
      context_.resize(static_cast<std::size_t>(workload_.context) * 4096);
      fill_synthetic_input("input.context", 1.0f, context_);
      sample.context = context_;
      sample.tokens = {};
    }
    noise_.resize(static_cast<std::size_t>(d.horizon * d.action));
    fill_synthetic_input("input.noise", 2.0f, noise_);
    chunk_.resize(noise_.size());
    input_.samples = {sample};
    input_.noise = noise_;
  }

  const Workload& workload_;
  const Family& family_;
  json dims_;
  Checkpoint checkpoint_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Executable> executable_;
  std::vector<std::vector<float>> images_;
  std::vector<std::int32_t> tokens_;
  std::vector<float> state_, context_, noise_, chunk_;
  ModelInput input_;
};

void print_ops(Loaded& loaded, const Model::StageTrace& stage, json& to) {
  std::map<std::string, std::array<double, 4>> sums;  // seconds, flops, bytes, count
  for (const Executable::StepTime& t : loaded.executable().profile(stage.trace, 9)) {
    std::string label = t.label;
    label.erase(std::remove_if(label.begin(), label.end(), [](char c) { return std::isdigit(c); }),
                label.end());
    auto& s = sums[t.op + " " + label];
    s[0] += t.seconds, s[1] += t.cost.flops, s[2] += t.cost.bytes, s[3] += 1;
  }
  for (const auto& [label, s] : sums) {
    fmt::print("    {:45} x{:<4.0f} {:9.1f} us  {:7.1f} TFLOP/s {:7.0f} GB/s\n", label, s[3],
               s[0] * 1e6, s[1] / s[0] * 1e-12, s[2] / s[0] * 1e-9);
    to[label] = {{"count", s[3]}, {"seconds", s[0]}, {"flops", s[1]}, {"bytes", s[2]}};
  }
}

// The chunk by the captured chain of kernels.
std::vector<float> captured_chunk(const Workload& w, Arguments a) {
  a.captured = true;
  Loaded loaded(w, a);
  loaded.call();
  return loaded.chunk();
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double off = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    off += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return std::sqrt(off / norm);
}

void time_workload(const Workload& w, const Arguments& a, json& report) {
  const std::vector<float> captured = a.compare ? captured_chunk(w, a) : std::vector<float>();
  const auto begin = Clock::now();
  Loaded loaded(w, a);
  const double load = std::chrono::duration<double>(Clock::now() - begin).count();
  const double first = loaded.call();
  const std::vector<float> first_chunk = loaded.chunk();
  loaded.call();
  std::vector<float> before = loaded.chunk();
  if (distance(before, first_chunk) != 0) {
    fmt::print("{}: the second call DIFFERS from the first: {:.2e}\n", w.name,
               distance(before, first_chunk));
  }
  std::vector<double> times(static_cast<std::size_t>(a.runs));
  const std::size_t allocated = allocations.load();
  for (double& t : times) t = loaded.call();
  const std::size_t per_run = (allocations.load() - allocated) / times.size();
  const bool same = std::memcmp(before.data(), loaded.chunk().data(), before.size() * 4) == 0;
  const bool finite =
      std::all_of(before.begin(), before.end(), [](float v) { return std::isfinite(v); });
  std::sort(times.begin(), times.end());
  auto at = [&](double q) {
    return times[static_cast<std::size_t>(q * static_cast<double>(times.size() - 1))] * 1e3;
  };
  fmt::print(
      "{}: p50 {:.3f} ms, p90 {:.3f}, p99 {:.3f}, max {:.3f}; first {:.3f}; load {:.1f} s; "
      "replays {}, {}\n",
      w.name, at(0.5), at(0.9), at(0.99), at(1), first * 1e3, load,
      same ? "bit-identical" : "DIFFER", finite ? "finite" : "NOT FINITE");
  if (a.compare)
    fmt::print("  chunk against the captured chain: {:.2e}\n", distance(before, captured));
  fmt::print("  p99/p50 {:.3f}, first/p50 {:.3f}, allocations in a call: {}\n", at(0.99) / at(0.5),
             first * 1e3 / at(0.5), per_run);
  double idle = 0;
  if (a.idle > 0) {
    std::this_thread::sleep_for(std::chrono::seconds(a.idle));
    idle = loaded.call() * 1e3;
    fmt::print("  after {} s of idling: {:.3f} ms\n", a.idle, idle);
  }
  const MemoryReport m = loaded.executable().memory();
  fmt::print("  memory: weights {} MB, buffers {} MB, arena {} MB\n", m.weights >> 20,
             m.buffers >> 20, m.arena >> 20);
  json& out = report[w.name];
  out = {{"p50_ms", at(0.5)},     {"p90_ms", at(0.9)},       {"p99_ms", at(0.99)},
         {"max_ms", at(1)},       {"first_ms", first * 1e3}, {"load_s", load},
         {"bit_identical", same}, {"runs", a.runs},          {"allocations", per_run},
         {"after_idle_ms", idle}, {"weights", m.weights},    {"buffers", m.buffers},
         {"arena", m.arena}};
  for (const Model::StageTrace& s : loaded.stages()) {
    const double seconds = loaded.stage(s, 100);
    fmt::print("  {} x{}: {:.3f} ms\n", s.stage, s.count, seconds * 1e3);
    json stage = {{"stage", s.stage}, {"count", s.count}, {"ms", seconds * 1e3}};
    if (a.ops) print_ops(loaded, s, stage["ops"]);
    out["stages"].push_back(std::move(stage));
  }
  std::fflush(stdout);
}

int run_time(const Arguments& a, json& report) {
  for (const Workload& w : kWorkloads) {
    const bool asked = std::find(a.words.begin() + 1, a.words.end(), w.name) != a.words.end();
    if (asked) time_workload(w, a, report);
  }
  return report.empty() ? 2 : 0;
}

int run(const Arguments& a) {
  require(!a.words.empty(), "gpu_acceptance: ops or time is wanted");
  json report;
  int code = 2;
  if (a.words[0] == "ops") code = run_ops(a, report);
  if (a.words[0] == "time") code = run_time(a, report);
  if (!a.json_file.empty()) write_file(a.json_file, report.dump(1));
  return code;
}

}  // namespace
}  // namespace tendon

int main(int argc, char** argv) {
  try {
    return tendon::run(tendon::parse(argc, argv));
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 2;
  }
}
