#include "preprocess/pixels.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/half.h"
#include "tests/support/golden.h"

namespace tendon {
namespace {

TEST(Pixels, openpi_table) {
  const golden::File file("pi05_cases");
  const auto want = file["host/u8_to_unit"].as<float>();
  const PixelTable table = pixel_table(builtin_contract("pi05_libero").images);
  for (int c = 0; c < 3; ++c) {
    for (int p = 0; p < 256; ++p) EXPECT_NEAR(table[c][p], want[p], 6e-8) << p;
  }
}

TEST(Pixels, LingbotTrap09_table_by_channel) {
  const golden::File file("lingbot_vla_tiny");
  const auto want = file["host.pixel_table"].as<float>();
  const ImageRules rules = builtin_contract("lingbot_vla").images;
  const PixelTable table = pixel_table(rules), rounded = pixel_table_bf16(rules);
  for (int c = 0; c < 3; ++c) {
    for (int p = 0; p < 256; ++p) {
      EXPECT_EQ(table[c][p], want[c * 256 + p]) << c << " " << p;
      EXPECT_EQ(rounded[c][p], round_bf16(want[c * 256 + p]));
    }
  }
  EXPECT_EQ(rounded[0][0], -1.7890625f);
  EXPECT_EQ(rounded[0][255], 1.9296875f);
  EXPECT_EQ(rounded[1][0], -1.75f);
  EXPECT_EQ(rounded[1][128], 0.1689453125f);
  EXPECT_EQ(rounded[2][0], -1.4765625f);
  EXPECT_EQ(rounded[2][255], 2.140625f);
}

// Rows of 1176: channel, frame twice, row, column; rows in raster order of cells and of patches
// within a cell.
TEST(Pixels, LingbotTrap07_recorded_patch_rows) {
  const golden::File file("lingbot_vla_tiny");
  const auto images = file["host.resized"].as<std::uint8_t>();
  const auto want = file["host.patch_rows"].as<float>();
  const PixelTable table = pixel_table(builtin_contract("lingbot_vla").images);
  const std::vector<std::pair<int, int>> rows{{0, 0}, {0, 5}, {1, 2}, {1, 17}, {2, 1}, {2, 63}};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto [camera, row] = rows[i];
    const int py = 2 * (row / 4 / 4) + row % 4 / 2, px = 2 * (row / 4 % 4) + row % 2;
    for (int k = 0; k < 1176; ++k) {
      const int c = k / 392, y = py * 14 + k % 196 / 14, x = px * 14 + k % 14;
      const std::uint8_t byte = images[((std::size_t(camera) * 112 + y) * 112 + x) * 3 + c];
      ASSERT_EQ(table[c][byte], want[i * 1176 + k]) << i << " " << k;
    }
  }
}

TEST(Pixels, FastwamTrap29_bf16_table) {
  const golden::File file("fastwam_tiny");
  const auto want = file["host.bf16_table"].as<float>();
  const PixelTable table = pixel_table_bf16(builtin_contract("fastwam_libero").images);
  for (int p = 0; p < 256; ++p) EXPECT_EQ(table[0][p], want[p]) << p;
  EXPECT_EQ(table[1][127], -0.00390625f);
  EXPECT_EQ(table[1][128], 0.0078125f);
  EXPECT_EQ(table[1][254], 0.9921875f);
  EXPECT_EQ(table[1][255], 1.0f);
}

TEST(Pixels, TrapT34_floats_are_truncated) {
  const golden::File file("pi05_cases");
  const auto in = file["host/float_image_to_u8/in"].as<float>();
  std::vector<std::uint8_t> out(in.size());
  floats_to_bytes(in.data(), in.size(), out.data(), "golden");
  EXPECT_EQ(out, file["host/float_image_to_u8/out"].as<std::uint8_t>());
  const double v = 0.999;
  floats_to_bytes(&v, 1, out.data(), "one");
  EXPECT_EQ(out[0], 254);
}

TEST(Pixels, floats_that_are_no_picture_are_refused) {
  std::uint8_t out;
  for (const float v : {std::nanf(""), INFINITY, -INFINITY, 1e20f}) {
    EXPECT_THROW(floats_to_bytes(&v, 1, &out, "camera"), Error);
  }
}

TEST(Pixels, rotation_reverses_both_axes) {
  std::vector<std::uint8_t> in(2 * 3 * 3);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<std::uint8_t>(i);
  std::vector<std::uint8_t> out(in.size());
  rotate_half({in.data(), 2, 3, 9}, out.data());
  EXPECT_EQ(out, (std::vector<std::uint8_t>{15, 16, 17, 12, 13, 14, 9, 10, 11, 6, 7, 8, 3, 4, 5, 0,
                                            1, 2}));
}

TEST(Pixels, where_the_channels_stand) {
  const int first[3] = {3, 20, 30}, last[3] = {20, 30, 3}, both[3] = {3, 40, 3},
            none[3] = {20, 30, 4};
  EXPECT_EQ(channels_at(first, ChannelOrder::either, "k"), ChannelsAt::first);
  EXPECT_EQ(channels_at(last, ChannelOrder::either, "k"), ChannelsAt::last);
  EXPECT_EQ(channels_at(both, ChannelOrder::either, "k"), ChannelsAt::last);
  EXPECT_EQ(channels_at(both, ChannelOrder::first, "k"), ChannelsAt::first);
  EXPECT_THROW(channels_at(last, ChannelOrder::first, "k"), Error);
  EXPECT_THROW(channels_at(first, ChannelOrder::last, "k"), Error);
  EXPECT_THROW(channels_at(none, ChannelOrder::either, "k"), Error);
}

TEST(Pixels, planes_to_rows_interleaves) {
  const std::uint8_t planes[] = {1, 2, 3, 4, 5, 6};
  std::uint8_t rows[6];
  planes_to_rows(planes, 1, 2, rows);
  EXPECT_EQ(std::vector<std::uint8_t>(rows, rows + 6),
            (std::vector<std::uint8_t>{1, 3, 5, 2, 4, 6}));
}

}  // namespace
}  // namespace tendon
