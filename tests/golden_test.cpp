// Every miniature recording on both host backends: all stages and chunks of the original code.
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/backends.h"
#include "engine/golden.h"

namespace tendon {
namespace {

struct Replay {
  const char *file, *device;
};

class Golden : public ::testing::TestWithParam<Replay> {};

TEST_P(Golden, AllStages) {
  const Replay& replay = GetParam();
  GoldenOptions options;
  options.folder = TENDON_GOLDEN_DIR;
  options.cases = std::string(replay.file) + "/*";
  options.backend = [&] { return make_backend(replay.device); };
  options.threads = 1;  // miniatures: several only wait for each other
  std::size_t passed = 0, most = 0;
  for (const GoldenResult& r : run_goldens(options, {})) {
    const std::string what = r.name + " " + r.dtype + " " + r.schedule;
    // A recording may lack what a bf16 run of its schedule is judged by; fp32 is always judged.
    const bool unjudged = r.verdict == GoldenResult::Verdict::skipped && r.dtype == "bf16" &&
                          r.reason.find("no reference") != std::string::npos;
    if (unjudged) continue;
    EXPECT_EQ(r.verdict, GoldenResult::Verdict::passed) << what << ": " << r.reason;
    for (const GoldenStage& s : r.stages) {
      EXPECT_TRUE(s.passed) << what << " " << s.name << ": " << s.error << " over " << s.bound;
    }
    if (r.dtype == "f32") {
      EXPECT_GE(r.stages.size(), 1u) << what;
      most = std::max(most, r.stages.size());
    }
    passed += r.verdict == GoldenResult::Verdict::passed;
  }
  EXPECT_GE(passed, 6u);
  EXPECT_GE(most, 20u);  // one case of each recording has all stages
}

INSTANTIATE_TEST_SUITE_P(
    Recordings, Golden,
    ::testing::Values(Replay{"pi05_cases", "cpu"}, Replay{"pi05_cases", "reference"},
                      Replay{"pi0_cases", "cpu"}, Replay{"pi0_cases", "reference"},
                      Replay{"lingbot_vla_tiny", "cpu"}, Replay{"lingbot_vla_tiny", "reference"},
                      Replay{"fastwam_tiny", "cpu"}, Replay{"fastwam_tiny", "reference"}),
    [](const auto& info) { return std::string(info.param.file) + "_" + info.param.device; });

}  // namespace
}  // namespace tendon
