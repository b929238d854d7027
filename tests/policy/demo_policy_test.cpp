// The shipped demo policies as a user has them: recorded observations in, the recorded chunks out.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "tendon/tendon.h"
#include "tests/support/golden.h"

namespace tendon {
namespace {

double worst(const std::vector<double>& got, const std::vector<double>& wanted) {
  EXPECT_EQ(got.size(), wanted.size());
  double most = 0;
  for (std::size_t i = 0; i < std::min(got.size(), wanted.size()); ++i) {
    most = std::max(most, std::abs(got[i] - wanted[i]));
  }
  return most;
}

// The recorded observation `at`, answered by `policy`.
Chunk answer(Policy& policy, const golden::File& file, int at) {
  const std::string name = std::to_string(at) + ".";
  const auto pixels = file[name + "images"].as<std::uint8_t>();
  const auto noise = file[name + "noise"].as<float>();
  Observation seen;
  const std::size_t picture = 112 * 112 * 3;
  seen.cameras.push_back({"base_0_rgb", {.data = pixels.data(), .height = 112, .width = 112}});
  seen.cameras.push_back(
      {"left_wrist_0_rgb", {.data = pixels.data() + picture, .height = 112, .width = 112}});
  seen.state.push_back({"state", file[name + "state"].numbers()});
  seen.prompt = file.json[static_cast<std::size_t>(at)]["text"];
  return policy.infer(seen, {.noise = noise, .steps = 10});
}

class DemoPolicy : public testing::TestWithParam<const char*> {};

TEST_P(DemoPolicy, AnswersTheRecordedObservationsAsRecorded) {
  const std::string folder = std::string(TENDON_ASSETS_DIR) + "/" + GetParam();
  const golden::File file(folder + "/golden", golden::Absolute{});
  LoadOptions options;
  options.dtype = "f32";
  options.threads = 1;
  Policy policy = load(folder, options);
  for (int at = 0; at < static_cast<int>(file.json.size()); ++at) {
    const Chunk chunk = answer(policy, file, at);
    const std::string name = std::to_string(at) + ".";
    const std::vector<double> model(chunk.model_actions.begin(), chunk.model_actions.end());
    EXPECT_LT(worst(model, file[name + "chunk"].numbers()), 1e-5) << at;
    EXPECT_LT(worst(chunk.actions, file[name + "actions"].numbers()), 1e-5) << at;
  }
}

INSTANTIATE_TEST_SUITE_P(Shipped, DemoPolicy, testing::Values("pick_block", "blocks"),
                         [](const auto& shipped) { return std::string(shipped.param); });

}  // namespace
}  // namespace tendon
