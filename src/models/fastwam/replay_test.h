// For this folder's tests: models of generated weights on the reference backend, what they show of
// their stages, and the recordings they are compared with.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "backends/reference/reference.h"
#include "models/fastwam/model.h"
#include "tests/support/golden.h"
#include "weights/synthetic.h"

namespace tendon::fastwam::testing {

struct Stage {
  Shape shape;
  std::vector<float> values;
  Trace::TapRows rows = Trace::TapRows::plain;
};
using Stages = std::map<std::string, Stage>;

inline std::string replaced(std::string name, const std::string& marker, int number) {
  const std::size_t at = name.find(marker);
  return at == std::string::npos ? name : name.replace(at, marker.size(), std::to_string(number));
}

// Every tap of every run by name; stacked ones joined; of others the first.
inline void collect(Executable& executable, std::size_t trace, int iteration, Stages& to) {
  const Trace& t = executable.program().traces.at(trace);
  for (const Trace::Tap& tap : t.taps()) {
    Stage stage{t.shape(tap.value), executable.fetch(trace, tap.value), tap.rows};
    std::string name = replaced(tap.name, "{step}", iteration);
    if (name.ends_with("[]")) {
      Stage& all = to[name.substr(0, name.size() - 2)];
      all.shape = stage.shape;
      all.values.insert(all.values.end(), stage.values.begin(), stage.values.end());
    } else if (name.find("{row}") != std::string::npos) {
      const auto width = static_cast<std::ptrdiff_t>(stage.values.size()) / stage.shape[0];
      for (int i = 0; i < stage.shape[0]; ++i) {
        const auto first = stage.values.begin() + i * width;
        to.emplace(replaced(name, "{row}", i), Stage{{width}, {first, first + width}, stage.rows});
      }
    } else {
      to.emplace(name, std::move(stage));
    }
  }
}

enum class Taps { off, on };

struct Plan {
  nlohmann::json dims;
  SyntheticRule rule;
  ModelOptions options;
  Taps taps = Taps::off;
};

// A model, its weights and its program.
class Session final : public StageObserver {
 public:
  explicit Session(const Plan& plan) : Session(plan, weights(plan)) {}
  Session(Plan plan, Checkpoint checkpoint)
      : plan_(std::move(plan)),
        checkpoint_(std::move(checkpoint)),
        config_(config_from(plan_.dims)) {
    if (plan_.options.max_steps == 100) plan_.options.max_steps = 16;
    model_ = make_model(config_, plan_.options, checkpoint_);
    auto program = std::make_unique<Program>();
    program->record_taps = plan_.taps == Taps::on;
    model_->record(*program);
    executable_ = backend()->compile(std::move(program), {});
  }

  static Checkpoint weights(const Plan& plan) {
    std::vector<TensorSpec> specs = published_tensors(config_from(plan.dims));
    for (TensorSpec& t : specs) t.dtype = DType::f32;
    return synthetic_checkpoint(specs, plan.rule);
  }
  static std::unique_ptr<Backend> backend() {  // sums in fp32, as the recorded runs
    return make_reference({.accumulate = Accumulate::f32, .threads = 1});
  }

  std::vector<float> encode(std::span<const std::int32_t> ids) {
    const auto backend = Session::backend();
    const auto encoder = umt5::make_encoder(config_.text, plan_.options.working, checkpoint_);
    TextEncoder::Observer observer;
    if (plan_.taps == Taps::on) {
      observer = [this](Executable& e, std::size_t trace) { collect(e, trace, 0, stages_); };
    }
    return encoder->encode(ids, *backend, observer);
  }

  // Rows are encoded where the call gives tokens.
  std::vector<float> run(ModelInput input) {
    std::vector<float> rows;
    if (input.samples[0].context.empty()) {
      rows = encode(input.samples[0].tokens);
      input.samples[0].context = rows;
    }
    std::vector<float> chunk(input.noise.size());
    StageRunner runner(*executable_, (plan_.taps == Taps::on) || !latent_.empty() ? this : nullptr);
    const Status status = model_->run(input, runner, chunk);
    EXPECT_TRUE(status.ok()) << status.message();
    stages_run_.clear();
    for (const auto& [name, seconds] : runner.times()) stages_run_.emplace_back(name);
    return chunk;
  }

  void after(std::string_view stage, std::size_t trace, int iteration) override {
    if (plan_.taps == Taps::on) collect(*executable_, trace, iteration, stages_);
    if (stage == "vision" && !latent_.empty()) {
      EXPECT_TRUE(executable_->write(buffer("latent"), std::as_bytes(std::span(latent_))).ok());
    }
  }
  // From now on the latent that the video expert sees; channels last.
  void replace_latent(std::vector<float> latent) { latent_ = std::move(latent); }

  BufferRef buffer(const std::string& name) const {
    const auto& all = executable_->program().buffers;
    const auto it =
        std::find_if(all.begin(), all.end(), [&](const BufferSpec& b) { return b.name == name; });
    EXPECT_NE(it, all.end()) << name;
    return {static_cast<std::int32_t>(it - all.begin())};
  }

  // A buffer of fp32 numbers as the last run left it.
  std::vector<float> peek(const std::string& name) const {
    const BufferRef ref = buffer(name);
    std::vector<float> values(
        static_cast<std::size_t>(executable_->program().buffer(ref).shape.numel()));
    EXPECT_TRUE(executable_->read(ref, std::as_writable_bytes(std::span(values))).ok());
    return values;
  }
  const Stages& stages() const { return stages_; }
  void forget() { stages_.clear(); }
  const std::vector<std::string>& stages_run() const { return stages_run_; }
  const Config& config() const { return config_; }
  Model& model() { return *model_; }
  Executable& executable() { return *executable_; }

 private:
  Plan plan_;
  Checkpoint checkpoint_;
  Config config_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Executable> executable_;
  Stages stages_;
  std::vector<std::string> stages_run_;
  std::vector<float> latent_;
};

// The recording of the miniature.
class Recorded {
 public:
  Recorded() : file_("fastwam_tiny") {}

  const nlohmann::json& dims() const { return file_.json["dims"]; }
  Plan plan(const ModelOptions& options = {.working = DType::f32}, Taps taps = Taps::off) const {
    return {dims(), rule(), options, taps};
  }
  SyntheticRule rule() const {
    SyntheticRule r;
    r.factors = fastwam_family().factors;
    return r;
  }

  std::vector<float> numbers(const std::string& name) const {
    const std::vector<double> wide = file_[name].numbers();
    return {wide.begin(), wide.end()};
  }
  const golden::File& file() const { return file_; }

  const nlohmann::json& entry(const std::string& name) const {
    for (const auto& c : file_.json["record"]["cases"]) {
      if (c["name"] == name) return c;
    }
    throw std::out_of_range(name);
  }

  // A case's inputs; text_ids and not the text rows are given.
  RecordedCall call(const std::string& name) const {
    RecordedInputs inputs;
    for (const auto& [key, spec] : entry(name)["inputs"].items()) {
      if (key == "image" || key == "state" || key == "text_ids" || key == "pinned_prefix") {
        const auto array = file_[spec["tensor"]];
        Shape shape;
        for (auto n : array.shape) shape.push_back(n);
        inputs[key] = {shape, numbers(spec["tensor"])};
      }
    }
    RecordedInput noise{{32, 7}, std::vector<float>(32 * 7)};
    fill_synthetic_input("input.noise", std::sqrt(3.0f), noise.values);
    inputs["noise"] = noise;
    // Spans of the call point into what the recording keeps.
    kept_.push_back(std::make_unique<RecordedInputs>(std::move(inputs)));
    return recorded_call(dims(), entry(name), *kept_.back());
  }

  // Calls number(ours, theirs) for everything that both have; false where shapes do not fit.
  template <class F>
  bool pairs(const Stage& stage, const std::string& tensor, const RecordedCall& call,
             F number) const {
    const auto array = file_[tensor];
    const std::vector<float> theirs = numbers(tensor);
    const std::vector<float>& ours = stage.values;
    const Shape& s = stage.shape;
    if (stage.rows == Trace::TapRows::packed_prefix) {
      const std::size_t width = ours.size() / static_cast<std::size_t>(s[1]);
      const std::vector<int>& rows = call.prefix_rows[0];
      if (width * 25 != theirs.size() || rows.size() * width > ours.size()) return false;
      for (std::size_t r = 0; r < rows.size(); ++r) {
        for (std::size_t i = 0; i < width; ++i) {
          number(ours[r * width + i], theirs[static_cast<std::size_t>(rows[r]) * width + i]);
        }
      }
      return true;
    }
    if (array.shape.size() == 3 && s.rank() == 4 && s[3] == array.shape[0] &&
        s[1] == array.shape[1]) {
      const std::size_t plane = theirs.size() / static_cast<std::size_t>(s[3]);
      const auto channels = static_cast<std::size_t>(s[3]);
      if (ours.size() != theirs.size()) return false;
      for (std::size_t i = 0; i < ours.size(); ++i) {
        number(ours[i], theirs[i % channels * plane + i / channels]);
      }
      return true;
    }
    if (ours.size() < theirs.size())
      return false;  // tables hold more rows than the steps of a case
    for (std::size_t i = 0; i < theirs.size(); ++i) number(ours[i], theirs[i]);
    return true;
  }

 private:
  golden::File file_;
  mutable std::vector<std::unique_ptr<RecordedInputs>> kept_;
};

// The recorded base case, run once with taps by whoever asks first.
struct BaseRun {
  Recorded recorded;
  Session session;
  RecordedCall call;
  std::vector<float> chunk;

  explicit BaseRun(const ModelOptions& options)
      : session(recorded.plan(options, Taps::on)),
        call(recorded.call("n10")),
        chunk(session.run(call.input)) {}
  static const BaseRun& f32() {
    static const BaseRun run({.working = DType::f32});
    return run;
  }

  // Largest difference in units of the recording's bound; infinite where the stage is not shown.
  double fp32_ratio(const std::string& stage) const {
    const auto found = session.stages().find(stage);
    if (found == session.stages().end()) return HUGE_VAL;
    double worst = 0;
    const bool fits = recorded.pairs(found->second, stage, call, [&](float ours, float theirs) {
      const double ratio = std::abs(ours - theirs) / (1e-4 + 1e-4 * std::abs(theirs));
      worst = std::isfinite(ratio) ? std::max(worst, ratio) : HUGE_VAL;
    });
    return fits ? worst : HUGE_VAL;
  }
};

inline double largest_difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double d = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    worst = std::isfinite(d) ? std::max(worst, d) : HUGE_VAL;
  }
  return worst;
}

inline double relative_difference(std::span<const float> a, std::span<const float> b) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    const double d = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    difference += d * d;
    size += static_cast<double>(b[i]) * static_cast<double>(b[i]);
  }
  return std::sqrt(difference / size);
}

}  // namespace tendon::fastwam::testing
