#include "preprocess/compose.h"

#include <gtest/gtest.h>

#include "base/hash.h"
#include "preprocess/pixels.h"
#include "tests/support/golden.h"

namespace tendon {
namespace {

using golden::byte_values;

std::vector<std::uint8_t> compose(const Contract& contract,
                                  const std::vector<std::vector<std::uint8_t>>& frames, int height,
                                  int width) {
  const Picture& picture = contract.images.pictures.at(0);
  std::vector<std::uint8_t> out(static_cast<std::size_t>(picture.height) * picture.width * 3, 5);
  Composer composer(contract.images.resize);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    composer.place({frames[i].data(), height, width, std::ptrdiff_t{width} * 3},
                   picture.cameras.at(i), picture, out.data());
  }
  return out;
}

// 180 degree turn, crop and order of two cameras.
TEST(Compose, FastwamTrap30_two_cameras) {
  const golden::File file("fastwam_tiny");
  Contract contract = builtin_contract("fastwam_libero");
  set_picture_size(contract.images, 96, 192);
  const auto agent = byte_values("input.agentview", 128 * 128 * 3);
  const auto wrist = byte_values("input.wrist", 128 * 128 * 3);
  const auto want = file["host.composed"].as<std::uint8_t>();
  EXPECT_EQ(compose(contract, {agent, wrist}, 128, 128), want);
  EXPECT_NE(compose(contract, {wrist, agent}, 128, 128), want);
  contract.images.pictures[0].cameras[1].turn = Turn::none;
  EXPECT_NE(compose(contract, {agent, wrist}, 128, 128), want);
}

TEST(Compose, FastwamTrap30_three_cameras) {
  const golden::File file("fastwam_tiny");
  std::vector<std::vector<std::uint8_t>> frames;
  for (const char* name : {"head_camera", "left_camera", "right_camera"}) {
    frames.push_back(byte_values(std::string("input.robotwin.") + name, 240 * 320 * 3));
  }
  const auto out = compose(builtin_contract("fastwam_robotwin"), frames, 240, 320);
  for (const int row : {10, 300}) {
    const auto want = file["host.robotwin.row" + std::to_string(row)].as<std::uint8_t>();
    EXPECT_TRUE(std::equal(want.begin(), want.end(), out.begin() + std::ptrdiff_t{row} * 320 * 3))
        << row;
  }
  EXPECT_EQ(
      fnv1a64({reinterpret_cast<const char*>(out.data()), out.size()}),
      std::stoull(file.json["hashes"]["robotwin_384x320_fnv1a"].get<std::string>(), nullptr, 16));
}

TEST(Compose, recorded_picture_values) {
  const golden::File file("fastwam_tiny");
  const auto bytes = file["host.composed"].as<std::uint8_t>();
  const ImageRules rules = builtin_contract("fastwam_libero").images;
  for (const auto& [name, table] : {std::pair{"host.image", pixel_table(rules)},
                                    std::pair{"host.image_bf16", pixel_table_bf16(rules)}}) {
    std::vector<float> values(bytes.size());
    to_values({bytes.data(), 96, 192, 192 * 3}, table, values.data());
    const auto want = file[name].as<float>();
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(values[i], want[(i % 3) * 96 * 192 + i / 3]) << name << " " << i;
    }
  }
}

}  // namespace
}  // namespace tendon
