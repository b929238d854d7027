// Policies whose device resizes camera frames give the chunks of those whose host does.
#include <gtest/gtest.h>

#include "tests/policy/folder.h"

namespace tendon::testing {
namespace {

std::vector<std::uint8_t> noise(std::size_t count) {
  std::vector<std::uint8_t> bytes(count);
  std::uint32_t state = 1;
  for (std::uint8_t& b : bytes)
    b = static_cast<std::uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  return bytes;
}

class DeviceFrames : public ::testing::TestWithParam<const char*>, protected Miniature {
 protected:
  DeviceFrames() : Miniature("frames", GetParam(), noise(kPixels)) {}
  static constexpr std::int64_t kMost = std::int64_t{kHeight} * kWidth;
};

TEST_P(DeviceFrames, GiveTheSameChunk) {
  Policy host = load(), device = load({.frame_pixels = kMost});
  Observation seen = observation(host.info());
  const auto same = [&](const char* what) {
    const Chunk wanted = host.infer(seen, {.steps = 2}), got = device.infer(seen, {.steps = 2});
    EXPECT_EQ(got.model_actions, wanted.model_actions) << what;
    EXPECT_EQ(got.actions, wanted.actions) << what;
    return wanted.actions;
  };
  const std::vector<double> first = same("48 x 64");
  for (auto& camera : seen.cameras) camera.image.height = 31, camera.image.width = 47;
  EXPECT_NE(same("31 x 47"), first);
  for (auto& camera : seen.cameras) camera.image.row_bytes = 3 * kWidth;
  same("with gaps between rows");
  seen.cameras[0].image = {seen.cameras[0].image.data, kWidth, 9, 0};
  same("cameras of two sizes");
  seen.cameras.front().image = seen.cameras.back().image = {seen.cameras[0].image.data, 48, 64, 0};
  same("back again");
}

TEST_P(DeviceFrames, AbsentCamerasAreLeftOut) {
  Policy host = load(), device = load({.frame_pixels = kMost});
  Observation seen = observation(host.info());
  for (std::size_t i = 0; i < host.info().inputs.size(); ++i) {
    const PolicyInfo::Input& input = host.info().inputs[i];
    if (input.size > 0 || input.required) continue;
    Observation less = seen;
    std::erase_if(less.cameras, [&](const auto& c) { return c.name == input.key; });
    if (less.cameras.empty()) continue;
    less.cameras.front().image.height = 20;
    EXPECT_EQ(device.infer(less, {.steps = 2}).actions, host.infer(less, {.steps = 2}).actions)
        << "without " << input.key;
    EXPECT_EQ(device.infer(seen, {.steps = 2}).actions, host.infer(seen, {.steps = 2}).actions)
        << "with " << input.key << " again";
  }
}

TEST_P(DeviceFrames, LargerOnesAreRefused) {
  Policy device = load({.frame_pixels = kMost - 1});
  const Observation seen = observation(device.info());
  Chunk chunk;
  const Status status = device.infer(seen, {}, chunk);
  ASSERT_FALSE(status.ok());
  const std::string message(status.message());
  EXPECT_NE(message.find("48 x 64"), std::string::npos) << message;
  EXPECT_NE(message.find("3071"), std::string::npos) << message;
  EXPECT_NE(message.find("frame_pixels"), std::string::npos) << message;
  EXPECT_THROW(load({.frame_pixels = -1}), Error);
}

INSTANTIATE_TEST_SUITE_P(Families, DeviceFrames,
                         ::testing::Values("pi05", "pi0", "lingbot_vla", "fastwam"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace tendon::testing
