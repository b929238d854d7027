#include "tests/model/session.h"

#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "engine/backends.h"
#include "tendon/error.h"

namespace tendon::testing {

using nlohmann::json;

namespace {

class Values final : public TensorSource {
 public:
  explicit Values(std::vector<float> values) : values_(std::move(values)) {}
  void read(std::int64_t first, std::int64_t stride, std::int64_t count,
            float* out) const override {
    for (std::int64_t i = 0; i < count; ++i) {
      out[i] = values_.at(static_cast<std::size_t>(first + i * stride));
    }
  }

 private:
  std::vector<float> values_;
};

std::vector<float> values_of(const CheckpointTensor& t) {
  std::vector<float> values(static_cast<std::size_t>(t.shape.numel()));
  t.source->read(0, 1, t.shape.numel(), values.data());
  return values;
}

Checkpoint synthetic(const Family& family, const json& dims, const SyntheticRule& rule) {
  std::vector<TensorSpec> specs = family.tensors(dims);
  for (TensorSpec& t : specs) {
    for (const auto& [name, other] : family.named_after) {
      if (t.name == name) t.rule_name = other;
    }
  }
  return synthetic_checkpoint(specs, rule);
}

}  // namespace

RecordedCase::RecordedCase(const std::string& file, const std::string& name)
    : recording_(Recording::open(std::string(TENDON_GOLDEN_DIR) + "/" + file + ".json")) {
  for (const json& c : recording_->record().at("cases")) {
    if (c.at("name") == name) case_ = c;
  }
  if (case_.is_null()) throw Error("no recorded case " + name);
  dims_ = recording_->dims_of(case_);
  family_ = &tendon::family(recording_->family_of(case_));
  inputs_ = recording_->inputs_of(case_);
  call = family_->recorded_call(dims_, case_, inputs_);
}

Checkpoint RecordedCase::weights() const {
  return synthetic(*family_, dims_, recording_->rule_of(case_));
}

RecordedInput RecordedCase::expected(const std::string& stage) const {
  for (const json& run : case_.at("runs")) {
    if (run.at("precision") == "f32" && run.at("schedule") == "exact") {
      return recording_->tensor(run.at("stages").at(stage).get<std::string>());
    }
  }
  throw Error("no exact fp32 run");
}

ModelOptions RecordedCase::options() const {
  ModelOptions o;
  o.working = DType::f32;
  o.batch = static_cast<int>(call.input.samples.size());
  o.max_steps = 16;
  o.token_buckets = {family_->dimensions(dims_).token_capacity};
  o.camera_counts = {3};
  return o;
}

Checkpoint generated(const Family& family, const json& dims) {
  return synthetic(family, dims, {.factors = family.factors});
}

Checkpoint altered(const Checkpoint& from,
                   const std::vector<std::pair<std::string, Change>>& changes) {
  Checkpoint to;
  std::vector<bool> used(changes.size(), false);
  for (const auto& t : from.tensors()) {
    std::vector<float> values = values_of(*t);
    for (std::size_t i = 0; i < changes.size(); ++i) {
      if (!glob_match(changes[i].first, t->name)) continue;
      changes[i].second(values, t->shape);
      used[i] = true;
    }
    to.add({t->name, t->stored_name, DType::f32, t->shape,
            std::make_unique<Values>(std::move(values)), t->hidden});
  }
  for (const auto& [name, target] : from.aliases()) to.alias(name, target);
  for (std::size_t i = 0; i < changes.size(); ++i) {
    if (!used[i]) throw Error("no tensor is called " + changes[i].first);
  }
  return to;
}

std::vector<float> values_of(const Checkpoint& checkpoint, const std::string& name) {
  const CheckpointTensor* t = checkpoint.find(name);
  if (t == nullptr) throw Error("no tensor " + name);
  return values_of(*t);
}

Session::Session(const Family& family, const json& dims, const ModelOptions& options,
                 Checkpoint checkpoint, const Setup& setup)
    : checkpoint_(std::move(checkpoint)), taps_(setup.taps) {
  model_ = family.make(dims, options, checkpoint_);
  auto program = std::make_unique<Program>();
  program->record_taps = taps_ == Taps::on;
  model_->record(*program);
  executable_ =
      make_backend(setup.device)->compile(std::move(program), {.threads = 1, .progress = {}});
}

std::vector<float> Session::run(const RecordedCall& call) {
  StageCollector collector(*executable_, call);
  std::vector<float> chunk = run(call.input, taps_ == Taps::on ? &collector : nullptr);
  stages_ = std::move(collector.pieces());
  return chunk;
}

std::vector<float> Session::run(const ModelInput& input, StageObserver* observer) {
  std::vector<float> chunk(input.noise.size());
  StageRunner runner(*executable_, observer);
  const Status status = model_->run(input, runner, chunk);
  EXPECT_TRUE(status.ok()) << status.message();
  return chunk;
}

const std::vector<StagePiece>& Session::pieces(const std::string& name) const {
  const auto found = stages_.find(name);
  if (found == stages_.end()) throw Error("no stage " + name);
  return found->second;
}

std::vector<float> Session::buffer(const std::string& name) {
  const auto& specs = executable_->program().buffers;
  const auto it =
      std::find_if(specs.begin(), specs.end(), [&](const BufferSpec& s) { return s.name == name; });
  if (it == specs.end()) throw Error("no buffer " + name);
  std::vector<float> values(static_cast<std::size_t>(it->shape.numel()));
  EXPECT_EQ(it->dtype, DType::f32);
  const BufferRef ref{static_cast<std::int32_t>(it - specs.begin())};
  const Status status = executable_->read(ref, std::as_writable_bytes(std::span(values)));
  EXPECT_TRUE(status.ok()) << status.message();
  return values;
}

double largest_difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double d = std::abs(static_cast<double>(a[i]) - b[i]);
    worst = std::isfinite(d) ? std::max(worst, d) : HUGE_VAL;
  }
  return worst;
}

double largest_difference(std::span<const float> a, const RecordedInput& b) {
  return largest_difference(a, std::span<const float>(b.values));
}

RecordedCall prompt_only(const RecordedCase& c, std::span<const std::int32_t> tokens) {
  RecordedCall call = c.call;
  call.input.samples[0].cameras.assign(3, nullptr);
  call.input.samples[0].tokens = tokens;
  call.cameras.clear();
  return call;
}

void expect_rotations(std::span<const float> keys, std::size_t pitch) {
  for (std::size_t p = 0; p < 16; ++p) {
    const float* rotated = keys.data() + p * pitch;
    for (std::size_t i = 0; i < 8; ++i) {
      const double angle = static_cast<double>(p) * std::pow(10000.0, -static_cast<double>(i) / 8);
      const double a = keys[i], b = keys[i + 8];
      EXPECT_NEAR(rotated[i], a * std::cos(angle) - b * std::sin(angle), 1e-5);
      EXPECT_NEAR(rotated[i + 8], b * std::cos(angle) + a * std::sin(angle), 1e-5);
    }
  }
}

}  // namespace tendon::testing
