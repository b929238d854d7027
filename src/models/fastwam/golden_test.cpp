// Recorded outputs of the original code on the miniature: stages, chunks, precision, savings.
#include <numeric>

#include "models/fastwam/replay_test.h"

namespace tendon::fastwam::testing {
namespace {

const std::vector<std::string> kHostStages = {"chunk", "chunk.denormalised", "chunk.robot",
                                              "chunk.robot_continuous"};

const nlohmann::json& run_of(const nlohmann::json& c, const std::string& precision,
                             const std::string& schedule) {
  for (const auto& r : c["runs"]) {
    if (r["precision"] == precision && r["schedule"] == schedule) return r;
  }
  throw std::out_of_range(precision);
}

bool of_host(const std::string& stage) {
  return std::find(kHostStages.begin(), kHostStages.end(), stage) != kHostStages.end();
}

TEST(FastWamGolden, EveryStageInFp32) {
  const Recorded recorded;
  Session session(recorded.setup({.working = DType::f32}, true));
  const RecordedCall call = recorded.call("n10");
  session.run(call.input);
  std::size_t compared = 0;
  for (const auto& [stage, tensor] :
       run_of(recorded.entry("n10"), "f32", "exact")["stages"].items()) {
    if (of_host(stage)) continue;
    const auto found = session.stages().find(stage);
    ASSERT_NE(found, session.stages().end()) << stage;
    double worst = 0;
    const bool fits = recorded.pairs(found->second, tensor, call, [&](float ours, float theirs) {
      const double ratio = std::abs(ours - theirs) / (1e-4 + 1e-4 * std::abs(theirs));
      worst = std::isfinite(ratio) ? std::max(worst, ratio) : HUGE_VAL;
    });
    EXPECT_TRUE(fits) << stage;
    EXPECT_LE(worst, 1.0) << stage;
    ++compared;
  }
  EXPECT_EQ(compared, 70u);
}

TEST(FastWamGolden, ScheduleToTheBit) {
  const Recorded recorded;
  for (bool rounded : {false, true}) {
    Session session(recorded.setup({.working = DType::f32, .bf16_schedule = rounded}, true));
    session.run(recorded.call("n10").input);
    const std::string suffix = rounded ? ".bf16" : "";
    for (const char* what : {"action.timestep", "action.delta"}) {
      const std::vector<float>& ours = session.stages().at(what).values;
      const std::vector<float> theirs = recorded.numbers(what + suffix);
      for (std::size_t i = 0; i < theirs.size(); ++i) EXPECT_EQ(ours[i], theirs[i]) << what << i;
    }
  }
}

class FastWamChunk : public ::testing::TestWithParam<const char*> {};

TEST_P(FastWamChunk, AsRecorded) {
  const Recorded recorded;
  Session session(recorded.setup());
  const RecordedCall call = recorded.call(GetParam());
  const auto chunk = session.run(call.input);
  const auto& run = run_of(recorded.entry(GetParam()), "f32", "exact");
  const std::vector<float> theirs = recorded.numbers(run["stages"]["chunk"]);
  EXPECT_LE(largest_difference(chunk, theirs), 5e-5);
}
INSTANTIATE_TEST_SUITE_P(Cases, FastWamChunk,
                         ::testing::Values("n10", "n4", "no_state", "shift3", "rtc_a", "rtc_b",
                                           "rtc_c"));

}  // namespace
}  // namespace tendon::fastwam::testing
