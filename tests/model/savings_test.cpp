// Exact savings change no chunk: each on its own and all at once, in fp32.
#include "tests/model/session.h"

namespace tendon::testing {
namespace {

struct Case {
  const char *file, *name;
};

class SavingsTest : public ::testing::TestWithParam<Case> {};

TEST_P(SavingsTest, ChangeNoChunk) {
  const RecordedCase c(GetParam().file, GetParam().name);
  Session all(c);
  const std::vector<float> chunk = all.run(c.call);
  const auto without = [&](Savings savings) {
    ModelOptions options = c.options();
    options.savings = savings;
    return Session(c, options).run(c.call);
  };
  EXPECT_LE(largest_difference(without({.drop_masked = false}), chunk), 1e-6);
  EXPECT_LE(largest_difference(without({.trim_last_layer = false}), chunk), 1e-6);
  EXPECT_LE(largest_difference(without({.tabulate_time = false}), chunk), 1e-6);
  EXPECT_LE(
      largest_difference(
          without({.drop_masked = false, .trim_last_layer = false, .tabulate_time = false}), chunk),
      1e-6);
}

INSTANTIATE_TEST_SUITE_P(
    Models, SavingsTest,
    ::testing::Values(Case{"pi05_cases", "a_two_cameras"}, Case{"pi05_cases", "d_batch"},
                      Case{"pi0_cases", "a_two_cameras"}, Case{"pi0_cases", "d_batch"},
                      Case{"lingbot_vla_tiny", "masked"}),
    [](const auto& info) { return std::string(info.param.file) + "_" + info.param.name; });

// What is saved is really left out: the plans hold less work.
TEST(SavingsTest, DoLessWork) {
  for (const char* file : {"pi05_cases", "pi0_cases", "lingbot_vla_tiny"}) {
    const bool lingbot = std::string(file) == "lingbot_vla_tiny";  // also its trap 34
    const RecordedCase c(file, lingbot ? "masked" : "a_two_cameras");
    const auto work = [&](Savings savings, const std::string& stage) {
      ModelOptions options = c.options();
      options.camera_counts = {2};
      options.savings = savings;
      Session session(c, options);
      double flops = 0;
      for (const auto& s : session.model().stages(2, 16, 10)) {
        const Trace& trace = session.executable().program().traces[s.trace];
        for (const Op& op : trace.ops()) flops += s.stage == stage ? cost(op, trace).flops : 0;
      }
      return flops;
    };
    EXPECT_LT(work({}, "prefix"), work({.drop_masked = false}, "prefix"));
    EXPECT_LT(work({}, "prefix"), work({.trim_last_layer = false}, "prefix"));
  }
}

}  // namespace
}  // namespace tendon::testing
