// Text rows of FastWAM over loads: encoded once for each prompt and each encoder, then found.
#include <gtest/gtest.h>

#include "engine/synth.h"
#include "tests/policy/folder.h"

namespace tendon::testing {
namespace {

class TextRowsKept : public ::testing::Test, protected Miniature {
 protected:
  TextRowsKept()
      : Miniature("text_rows", "fastwam", std::vector<std::uint8_t>(kPixels, 90)), kept_("kept") {}

  std::vector<double> actions(const std::string& prompt) const {
    Policy policy = load({.text_cache = kept_.path.string()});
    Observation seen = observation(policy.info());
    seen.prompt = prompt;
    return policy.infer(seen, {.seed = 5, .steps = 2}).actions;
  }
  std::vector<std::filesystem::path> files() const {
    const std::filesystem::directory_iterator all(kept_.path);
    return {begin(all), end(all)};
  }

  const TemporaryFolder kept_;
};

TEST_F(TextRowsKept, AreFoundByPromptAndEncoder) {
  const std::vector<double> first = actions("pick up the bowl");
  ASSERT_EQ(files().size(), 1u);
  const auto written = std::filesystem::last_write_time(files()[0]);
  EXPECT_EQ(actions("pick up the bowl"), first);
  ASSERT_EQ(files().size(), 1u);
  EXPECT_EQ(std::filesystem::last_write_time(files()[0]), written);
  EXPECT_NE(actions("open the drawer"), first);
  EXPECT_EQ(files().size(), 2u);
  // Another encoder of the same shapes: its rows are its own.
  synthesise({.family = "fastwam", .folder = folder_.path, .prefix = "other.", .threads = 1},
             nlohmann::json::object());
  EXPECT_NE(actions("pick up the bowl"), first);
  EXPECT_EQ(files().size(), 3u);
}

TEST_F(TextRowsKept, NeedNoEncoderOnceTheyAre) {
  const std::vector<double> first = actions("pick up the bowl");
  for (const auto& file : files()) {
    Policy policy = load({.context = file.string()});
    Observation seen = observation(policy.info());
    seen.prompt = "anything";
    EXPECT_EQ(policy.infer(seen, {.seed = 5, .steps = 2}).actions, first);
  }
}

}  // namespace
}  // namespace tendon::testing
