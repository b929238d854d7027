// Recorded outputs of the original code on the miniature: stages, chunks, precision, savings.
#include <utility>

#include "models/fastwam/replay_test.h"

namespace tendon::fastwam::testing {
namespace {

const nlohmann::json& run_of(const nlohmann::json& c, const std::string& precision,
                             const std::string& schedule) {
  for (const auto& r : c["runs"]) {
    if (r["precision"] == precision && r["schedule"] == schedule) return r;
  }
  throw std::out_of_range(precision);
}

TEST(FastWamGolden, EveryStageInFp32) {
  const BaseRun& base = BaseRun::f32();
  std::size_t compared = 0;
  const auto& run = run_of(base.recorded.entry("n10"), "f32", "exact");
  for (const auto& [stage, tensor] : run["stages"].items()) {
    if (stage.starts_with("chunk")) continue;
    EXPECT_LE(base.fp32_ratio(stage), 1.0) << stage;
    ++compared;
  }
  EXPECT_EQ(compared, 70u);
}

TEST(FastWamGolden, EveryChunkInFp32) {
  const Recorded recorded;
  Session session(recorded.plan());
  for (const auto& c : recorded.file().json["record"]["cases"]) {
    const RecordedCall call = recorded.call(c["name"]);
    const auto chunk = session.run(call.input);
    const std::vector<float> theirs =
        recorded.numbers(run_of(c, "f32", "exact")["stages"]["chunk"]);
    EXPECT_LE(largest_difference(chunk, theirs), 5e-5) << c["name"];
    EXPECT_TRUE(std::equal(call.input.pinned.begin(), call.input.pinned.end(), chunk.begin()));
  }
}

TEST(FastWamGolden, VelocityOfPinnedRows) {
  const Recorded recorded;
  Session session(recorded.plan({.working = DType::f32}, Taps::on));
  for (const char* variant : {"a", "b", "c"}) {
    session.forget();
    const RecordedCall call = recorded.call(std::string("rtc_") + variant);
    session.run(call.input);
    const auto theirs = recorded.numbers(std::string("rtc.") + variant + ".velocity.0");
    EXPECT_LE(largest_difference(session.stages().at("velocity.0").values, theirs), 1e-4)
        << variant;
  }
}

// fp32 arithmetic on bf16 weights, with times, steps and noise rounded.
TEST(FastWamGolden, RoundedScheduleOnRoundedWeights) {
  const Recorded recorded;
  Plan plan = recorded.plan({.working = DType::f32, .bf16_schedule = true});
  plan.rule.stored_as = DType::bf16;
  Session session(plan);
  RecordedCall call = recorded.call("n10");
  std::vector<float> noise(call.input.noise.begin(), call.input.noise.end());
  for (float& v : noise) v = round_bf16(v);
  call.input.noise = noise;
  const auto theirs = recorded.numbers("chunk.n10.f32_weights_bf16_schedule_bf16");
  EXPECT_LE(largest_difference(session.run(call.input), theirs), 5e-5);
}

TEST(FastWamGolden, ScheduleToTheBit) {
  const Recorded& recorded = BaseRun::f32().recorded;
  const BaseRun rounded({.working = DType::f32, .bf16_schedule = true});
  for (const char* what : {"action.timestep", "action.delta"}) {
    const auto exact = recorded.numbers(what), bf16 = recorded.numbers(std::string(what) + ".bf16");
    for (std::size_t i = 0; i < exact.size(); ++i) {
      EXPECT_EQ(BaseRun::f32().session.stages().at(what).values[i], exact[i]) << what << i;
      EXPECT_EQ(rounded.session.stages().at(what).values[i], bf16[i]) << what << i;
    }
  }
}

// Errors of the bf16 engine to the fp32 record in units of what the original's own rounding costs.
std::vector<double> bf16_ratios(const BaseRun& base, const nlohmann::json& errors,
                                bool first_step) {
  std::vector<double> ratios;
  const auto& f32 = run_of(base.recorded.entry("n10"), "f32", "exact")["stages"];
  for (const auto& [stage, tensor] : f32.items()) {
    const bool later = stage == "action.x" || stage == "action.velocity" ||
                       stage == "action.time.7" || stage == "action.time_mod.7";
    if (!errors.contains(stage) || (first_step && later)) continue;
    if (stage.starts_with("chunk")) continue;
    double difference = 0, size = 0;
    const bool fits = base.recorded.pairs(base.session.stages().at(stage), tensor, base.call,
                                          [&](double ours, double theirs) {
                                            difference += (ours - theirs) * (ours - theirs);
                                            size += theirs * theirs;
                                          });
    EXPECT_TRUE(fits) << stage;
    ratios.push_back(std::sqrt(difference / size) / errors[stage].get<double>());
    EXPECT_LE(ratios.back(), 1.5) << stage;
  }
  return ratios;
}

TEST(FastWamGolden, EveryStageInBf16) {
  const Recorded& recorded = BaseRun::f32().recorded;
  const auto& bf16 = run_of(recorded.entry("n10"), "bf16", "bf16");
  const auto& errors = bf16["errors"][0]["relative_error"];  // to fp32
  const BaseRun exact({.working = DType::bf16});
  std::vector<double> ratios = bf16_ratios(exact, errors, false);
  const double chunk = relative_difference(exact.chunk, recorded.numbers("chunk.n10"));
  EXPECT_LE(chunk, 1.5 * bf16["errors"][2]["relative_error"]["chunk"].get<double>());
  EXPECT_GE(ratios.size(), 60u);
  std::nth_element(ratios.begin(), ratios.begin() + 30, ratios.end());
  EXPECT_LE(ratios[30], 1.25);
}

TEST(FastWamGolden, Bf16AtTheRoundedSchedule) {
  const Recorded& recorded = BaseRun::f32().recorded;
  const auto& bf16 = run_of(recorded.entry("n10"), "bf16", "bf16");
  const BaseRun rounded({.working = DType::bf16, .bf16_schedule = true});
  bf16_ratios(rounded, bf16["errors"][0]["relative_error"], true);
  const auto theirs = recorded.numbers("chunk.n10.f32_weights_bf16_schedule_bf16");
  EXPECT_LE(relative_difference(rounded.chunk, theirs),
            1.5 * bf16["errors"][2]["relative_error"]["chunk"].get<double>());
}

TEST(FastWamSavings, ChangeNothing) {
  const Recorded recorded;
  const RecordedCall call = recorded.call("n4");
  Session saving(recorded.plan());
  const auto chunk = saving.run(call.input);
  auto without = [&](const Savings& savings) {
    Session session(recorded.plan({.working = DType::f32, .savings = savings}));
    return largest_difference(session.run(call.input), chunk);
  };
  EXPECT_EQ(without({.trim_last_layer = false}), 0);
  EXPECT_EQ(without({.tabulate_time = false}), 0);
  EXPECT_LE(without({.drop_masked = false}), 1e-6);
  EXPECT_LE(without({.drop_masked = false, .trim_last_layer = false, .tabulate_time = false}),
            1e-6);
}

// Text keys are made again only for other text.
TEST(FastWamSavings, TextOncePerPrompt) {
  const Recorded recorded;
  Session session(recorded.plan());
  RecordedCall call = recorded.call("n4");
  std::vector<float> rows = session.encode(call.tokens[0]);
  call.input.samples[0].context = rows;
  const auto encoded = [&] {
    const auto& stages = session.stages_run();
    return std::find(stages.begin(), stages.end(), "text") != stages.end();
  };
  const auto first = session.run(call.input);
  EXPECT_TRUE(encoded());
  EXPECT_EQ(session.run(call.input), first);
  EXPECT_FALSE(encoded());
  const float kept = std::exchange(rows[5], 2.0f);  // in place: the address stays
  EXPECT_NE(session.run(call.input), first);
  EXPECT_TRUE(encoded());
  rows[5] = kept;
  EXPECT_EQ(session.run(call.input), first);
}

TEST(FastWamBuckets, DoNotChangeTheChunk) {
  const Recorded recorded;
  const RecordedCall call = recorded.call("n4");
  Session whole(recorded.plan());
  Session bucketed(recorded.plan({.working = DType::f32, .token_buckets = {8, 17, 20}}));
  EXPECT_EQ(whole.run(call.input), bucketed.run(call.input));
}

}  // namespace
}  // namespace tendon::fastwam::testing
