// What `tendon models` says of a family is what its model does.
#include <algorithm>
#include <optional>
#include <set>

#include "tendon/error.h"
#include "tests/model/session.h"

namespace tendon::testing {
namespace {

class Capabilities : public ::testing::TestWithParam<std::string> {
 protected:
  const Family& family = tendon::family(GetParam());
  nlohmann::json dims = family.mini_dims();
  Model::Dimensions d = family.dimensions(dims);

  std::string said_of(std::string_view option) const {
    for (const Capability& c : family.capabilities) {
      if (c.option == option) return std::string(c.meaning);
    }
    ADD_FAILURE() << family.name << " says nothing of " << option;
    return {};
  }
  bool says(std::string_view option, std::string_view word) const {
    return said_of(option).find(word) != std::string::npos;
  }

  ModelOptions options() const {
    ModelOptions o;
    o.working = DType::f32;
    o.max_steps = 4;
    o.token_buckets = {d.token_capacity};
    o.camera_counts = {d.camera_slots};
    return o;
  }
  Session session(const ModelOptions& o) const {
    return Session(family, dims, o, generated(family, dims));
  }
  bool loads(const ModelOptions& o) const {
    try {
      Checkpoint weights = generated(family, dims);
      family.make(dims, o, weights);
      return true;
    } catch (const Error&) {
      return false;
    }
  }

  // A call with everything the family takes; valid as long as this test.
  ModelInput input() {
    const auto numbers = [](std::int64_t n) {
      return std::vector<float>(static_cast<std::size_t>(n), 0.25f);
    };
    picture_ = numbers(3 * d.image_height * d.image_width);
    noise_ = numbers(d.horizon * d.action);
    pinned_ = numbers(d.action);
    state_ = numbers(d.state);
    ModelSample sample;
    sample.cameras.assign(static_cast<std::size_t>(d.camera_slots), picture_.data());
    sample.state = state_;
    if (d.context_width > 0) {
      context_ = numbers(2 * d.context_width);
      sample.context = context_;
    } else {
      sample.tokens = tokens_;
    }
    ModelInput input;
    input.samples = {sample};
    input.noise = noise_;
    input.steps = 2;
    return input;
  }
  Status status_of(Session& s, const ModelInput& input) {
    std::vector<float> chunk(input.noise.size());
    StageRunner runner(s.executable());
    const Status status = s.model().run(input, runner, chunk);
    stages_.clear();
    for (const auto& [name, seconds] : runner.times()) stages_.emplace(name);
    return status;
  }

  std::set<std::string, std::less<>> stages_;
  std::vector<float> picture_, noise_, pinned_, state_, context_;
  std::vector<std::int32_t> tokens_ = {1, 2, 3};
};

TEST_P(Capabilities, StagesAreThoseThatRun) {
  Session s = session(options());
  ASSERT_TRUE(status_of(s, input()).ok());
  stages_.erase("time");  // once per schedule
  EXPECT_EQ(stages_,
            (std::set<std::string, std::less<>>(family.stages.begin(), family.stages.end())));
}

TEST_P(Capabilities, StepsAreAnyNumberUpToTheMost) {
  ASSERT_TRUE(says("steps", "any number up to --max-steps"));
  Session s = session(options());
  for (int steps : {0, 1, 3, 4, 5}) {
    ModelInput call = input();
    call.steps = steps;
    EXPECT_EQ(status_of(s, call).ok(), steps >= 1 && steps <= 4) << steps;
  }
}

TEST_P(Capabilities, SchedulesThatAreNamedLoad) {
  ModelOptions rounded = options(), divided = options();
  rounded.bf16_schedule = true, divided.divided_schedule = true;
  EXPECT_TRUE(says("schedule", "exact"));
  EXPECT_EQ(loads(rounded), says("schedule", "bf16"));
  EXPECT_EQ(loads(divided), says("schedule", "divided"));
}

TEST_P(Capabilities, PinRulesThatAreNamedRun) {
  Session s = session(options());
  const std::pair<PinRule, const char*> rules[] = {{PinRule::clamped, "clamped"},
                                                   {PinRule::conditioned, "conditioned"},
                                                   {PinRule::renoised, "renoised"}};
  for (const auto& [rule, name] : rules) {
    ModelInput call = input();
    call.pinned = pinned_;
    call.pin_rule = rule;
    EXPECT_EQ(status_of(s, call).ok(), says("pinned", name)) << name;
  }
}

TEST_P(Capabilities, CamerasMayBeAbsentWhereThatIsSaid) {
  Session s = session(options());
  ModelInput call = input();
  call.samples[0].cameras[0] = nullptr;
  EXPECT_EQ(status_of(s, call).ok(), says("cameras", "any of its slots"));
}

TEST_P(Capabilities, TextRowsAreWantedWhereThatIsSaid) {
  EXPECT_EQ(family.make_text_encoder != nullptr, !says("context", "not taken"));
  EXPECT_EQ(d.context_width > 0, !says("context", "not taken"));
}

TEST_P(Capabilities, BatchesLoadWhereTheyAreNamed) {
  ModelOptions two = options();
  two.batch = 2;
  EXPECT_EQ(loads(two), said_of("batch") != "1");
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const Family& f : families()) all.emplace_back(f.name);
  return all;
}

INSTANTIATE_TEST_SUITE_P(Families, Capabilities, ::testing::ValuesIn(names()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace tendon::testing
