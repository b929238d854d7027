// Every op of a policy on a backend against the reference, each given the backend's own operands.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "backends/reference/sample.h"
#include "base/error.h"
#include "base/rng.h"
#include "engine/backends.h"
#include "engine/inspect.h"
#include "engine/loader.h"

namespace tendon {
namespace {

// Relative error that one rounding to the output's type, and the products' own, may leave.
double bound_of(DType dtype, DType working) {
  if (dtype == DType::bf16) return 6e-3;
  if (dtype == DType::f16) return 2e-3;
  return working == DType::bf16 ? 1e-4 : 2e-5;
}

// Taps everything that an op reads or writes.
void tap_all(Trace& trace) {
  std::set<std::int32_t> seen;
  for (const Op& op : trace.ops()) {
    const Operands all = operands(op);
    for (const auto* values : {&all.inputs, &all.outputs}) {
      for (Value v : *values) {
        if (trace.info(v).kind != ValueInfo::Kind::iteration && seen.insert(v.id).second) {
          trace.tap("op", v);
        }
      }
    }
  }
}

class Checker final : public StageObserver {
 public:
  Checker(Executable& executable, DType working, const std::function<void(const OpCheck&)>& report)
      : executable_(executable), working_(working), report_(report) {}

  void after(std::string_view stage, std::size_t trace, int iteration) override {
    if (iteration > 0 || !done_.insert(trace).second) return;
    const Trace& t = executable_.program().traces[trace];
    for (std::size_t i = 0; i < t.ops().size(); ++i) {
      if (!overwritten(t, i)) check(stage, trace, t, i, iteration);
    }
  }

 private:
  // Whether memory that op `at` reads is written by itself or later: its operands are gone.
  static bool overwritten(const Trace& t, std::size_t at) {
    for (Value in : operands(t.ops()[at]).inputs) {
      for (std::size_t i = at; i < t.ops().size(); ++i) {
        for (Value out : operands(t.ops()[i]).outputs) {
          if (t.info(out).root == t.info(in).root) return true;
        }
      }
    }
    return false;
  }

  void check(std::string_view stage, std::size_t trace, const Trace& t, std::size_t i,
             int iteration) {
    const auto operand = [&](Value v) {
      if (t.info(v).kind == ValueInfo::Kind::iteration) {
        return std::vector<float>{static_cast<float>(iteration)};
      }
      return executable_.fetch(trace, v);
    };
    for (const Sample& sample : evaluate_sample({.trace = t, .op = i, .operand = operand})) {
      const std::vector<float> ours = executable_.fetch(trace, sample.output);
      const auto width = static_cast<std::size_t>(t.shape(sample.output)[-1]);
      double difference = 0, reference = 0;
      for (std::size_t r = 0; r < sample.rows.size(); ++r) {
        for (std::size_t c = 0; c < width; ++c) {
          const double want = sample.expected[r * width + c];
          const double got = ours[static_cast<std::size_t>(sample.rows[r]) * width + c];
          difference += (got - want) * (got - want);
          reference += want * want;
        }
      }
      OpCheck result{std::string(stage), t.label(i), std::string(name(t.ops()[i]))};
      result.error = reference > 0 ? std::sqrt(difference / reference) : std::sqrt(difference);
      result.bound = bound_of(t.dtype(sample.output), working_);
      result.rows = sample.rows.size();
      result.passed = result.error <= result.bound;  // false for NaN
      report_(result);
    }
  }

  Executable& executable_;
  DType working_;
  const std::function<void(const OpCheck&)>& report_;
  std::set<std::size_t> done_;
};

}  // namespace

void check_ops(const std::filesystem::path& path, const LoadOptions& options,
               const OpCheckOptions& what, const std::function<void(const OpCheck&)>& report) {
  Source source = open_source(path, options);
  ModelOptions m = model_options(source, options);
  m.camera_counts = {what.cameras};
  m.token_buckets = {what.tokens};
  m.max_steps = std::max(what.steps, 2);
  const std::unique_ptr<Model> model = source.family->make(source.dims, m, source.checkpoint);
  auto program = std::make_unique<Program>();
  program->record_taps = true;
  model->record(*program);
  for (Trace& t : program->traces) tap_all(t);
  const auto executable =
      make_backend(options.device)
          ->compile(std::move(program), {.threads = options.threads, .progress = options.progress});
  const Model::Dimensions d = model->dimensions();
  const auto count = [](auto n) { return static_cast<std::size_t>(n); };
  std::vector<float> pixels(count(d.image_height) * count(d.image_width) * 3);
  std::vector<float> state(count(d.state)),
      noise(count(d.horizon) * count(d.action) * count(m.batch));
  std::vector<std::int32_t> tokens(count(what.tokens));
  fill_gaussian(1, 0, pixels);
  fill_gaussian(2, 0, state);
  fill_gaussian(3, 0, noise);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<std::int32_t>(i % 97 + 2);
  ModelSample sample;
  sample.cameras.assign(count(d.camera_slots), nullptr);
  std::fill_n(sample.cameras.begin(), what.cameras, pixels.data());
  sample.tokens = tokens;
  sample.state = state;
  ModelInput input{.samples = std::vector<ModelSample>(count(m.batch), sample),
                   .noise = noise,
                   .steps = what.steps,
                   .shift = source.contract.shift,
                   .pinned = {}};
  Checker checker(*executable, source.dtype, report);
  StageRunner runner(*executable, &checker);
  std::vector<float> chunk(noise.size());
  const Status status = model->run(input, runner, chunk);
  require(status.ok(), "{}", status.message());
}

}  // namespace tendon
