#include "preprocess/resize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/hash.h"
#include "preprocess/compose.h"
#include "preprocess/resize_kernels.h"
#include "tests/support/golden.h"

namespace tendon {
namespace {

using golden::byte_values;

ImageView view(const std::vector<std::uint8_t>& bytes, int height, int width) {
  return {bytes.data(), height, width, std::ptrdiff_t{width} * 3};
}

Camera whole(int height, int width) {
  Camera c;
  c.height = height;
  c.width = width;
  return c;
}

// One camera filling a picture.
std::vector<std::uint8_t> placed(ResizeRule rule, const ImageView& in, int height, int width) {
  std::vector<std::uint8_t> out(static_cast<std::size_t>(height) * width * 3, 77);
  Composer composer(rule);
  composer.place(in, whole(height, width), {"slot", height, width, {}}, out.data());
  return out;
}

std::string sha256(const std::vector<std::uint8_t>& bytes) {
  return sha256_hex(std::as_bytes(std::span(bytes)));
}

std::vector<std::uint8_t> source_image(const nlohmann::json& c) {
  const int height = c["height"], width = c["width"];
  if (c["source"] != "pattern") return byte_values(c["rule_name"], std::size_t(height) * width * 3);
  std::vector<std::uint8_t> out;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int ch = 0; ch < 3; ++ch) {
        out.push_back(((7 * x + 3 * y + 41 * ch) % 256) ^ ((x / 16 + y / 16) % 2 ? 85 : 0));
      }
    }
  }
  return out;
}

// Recorded from openpi's client with Pillow 11.2.1.
TEST(Resize, TrapT31_letterbox_equals_pillow) {
  const golden::File file("pi05_cases");
  int small = 0, large = 0;
  for (const auto& c : file.json["host"]["resize"]) {
    SCOPED_TRACE(c["name"].get<std::string>());
    const auto in = source_image(c);
    const int target = c["target"];
    const auto out =
        placed(ResizeRule::letterbox, view(in, c["height"], c["width"]), target, target);
    if (c.contains("sha256_out")) {
      EXPECT_EQ(sha256(in), c["sha256_in"]);
      EXPECT_EQ(sha256(out), c["sha256_out"]);
      for (const auto& p : c["pixels"]) {
        const std::size_t at = (p[0].get<std::size_t>() * target + p[1].get<std::size_t>()) * 3;
        for (int ch = 0; ch < 3; ++ch) EXPECT_EQ(out[at + ch], p[2 + ch]);
      }
      ++large;
    } else {
      const std::string name = "host/" + c["name"].get<std::string>();
      EXPECT_EQ(in, file[name + "/in"].as<std::uint8_t>());
      EXPECT_EQ(out, file[name + "/out"].as<std::uint8_t>());
      ++small;
    }
  }
  EXPECT_EQ(small, 10);
  EXPECT_EQ(large, 10);
}

TEST(Resize, TrapT32_padding_split) {
  const Letterbox box = letterbox(100, 80, 224, 224);
  EXPECT_EQ(box.width, 179);
  EXPECT_EQ(box.left, 22);
  EXPECT_EQ(224 - box.width - box.left, 23);
  EXPECT_EQ(box.height, 224);
  EXPECT_EQ(box.top, 0);
}

TEST(Resize, letterbox_geometry) {
  struct Row {
    int w, h, rw, rh, left, top;
  };
  for (const Row& r : {Row{640, 480, 224, 168, 0, 28}, Row{1280, 720, 224, 126, 0, 49},
                       Row{848, 480, 224, 126, 0, 49}, Row{640, 360, 224, 126, 0, 49},
                       Row{1920, 1080, 224, 126, 0, 49}, Row{480, 640, 168, 224, 28, 0},
                       Row{256, 256, 224, 224, 0, 0}, Row{225, 224, 223, 223, 0, 0}}) {
    const Letterbox box = letterbox(r.h, r.w, 224, 224);
    EXPECT_EQ(box.width, r.rw) << r.w;
    EXPECT_EQ(box.height, r.rh) << r.w;
    EXPECT_EQ(box.left, r.left) << r.w;
    EXPECT_EQ(box.top, r.top) << r.w;
  }
}

std::vector<std::uint8_t> serving_image(int height, int width) {
  std::vector<std::uint8_t> out(static_cast<std::size_t>(height) * width * 3);
  for (std::size_t k = 0; k < out.size(); ++k) out[k] = ((k * 2654435761ull) >> 13) & 255;
  return out;
}

TEST(Resize, serving_vectors) {
  const std::vector<std::tuple<int, int, std::string>> cases{
      {480, 640, "208ff0bec76ee78f1d54ddfc364f211d2df8756af8905e566a90f996802ed02a"},
      {720, 1280, "85c0c5b17a2d2ecf6b426fb5b71361f896fcae5ce436e4d89be970d0fdf2c609"},
      {256, 256, "361544dd2bf68b31b7e6c72b750e9e54fd86d4a400e9f66a466dbb657c4ccfce"},
      {224, 225, "9641c61a186c9c3017a4b3463f591f63e1bb7e7c77ea59151b30960e9a70b9c1"}};
  for (const auto& [h, w, hash] : cases) {
    const auto in = serving_image(h, w);
    EXPECT_EQ(sha256(placed(ResizeRule::letterbox, view(in, h, w), 224, 224)), hash)
        << h << "x" << w;
  }
}

std::vector<std::uint8_t> grey(const std::vector<int>& values) {
  std::vector<std::uint8_t> out;
  for (const int v : values) out.insert(out.end(), 3, static_cast<std::uint8_t>(v));
  return out;
}

// A stretch is no letterbox: the rule is the contract's.
TEST(Resize, LingbotTrap08_squash_is_no_letterbox) {
  const auto in = grey({0, 32, 64,  96,  128, 160, 192, 224, 10,  40, 70,  100, 130, 160, 190, 220,
                        0, 0,  255, 255, 0,   0,   255, 255, 255, 0,  255, 0,   255, 0,   255, 0});
  EXPECT_EQ(placed(ResizeRule::letterbox, view(in, 4, 8), 4, 4),
            grey({0, 0, 0, 0, 28, 98, 133, 203, 82, 149, 103, 169, 0, 0, 0, 0}));
  EXPECT_EQ(placed(ResizeRule::squash, view(in, 4, 8), 4, 4),
            grey({23, 80, 144, 201, 31, 85, 145, 199, 36, 191, 64, 219, 146, 128, 128, 109}));
}

TEST(Resize, lingbot_recorded_squash) {
  const golden::File file("lingbot_vla_tiny");
  const auto expected = file["host.resized"].as<std::uint8_t>();
  const auto& sizes = file.json["host"]["frame_sizes"];
  const std::size_t picture = 112 * 112 * 3;
  for (std::size_t i = 0; i < 3; ++i) {
    const int h = sizes[i][0], w = sizes[i][1];
    const auto in = byte_values("lingbot_a.frame." + std::to_string(i), std::size_t(h) * w * 3);
    const std::vector<std::uint8_t> want(expected.begin() + i * picture,
                                         expected.begin() + (i + 1) * picture);
    EXPECT_EQ(placed(ResizeRule::squash, view(in, h, w), 112, 112), want) << i;
  }
}

std::vector<std::uint8_t> crop_case(int i, int h, int w, int height, int width) {
  const auto in = byte_values("input.resize" + std::to_string(i), std::size_t(h) * w * 3);
  return placed(ResizeRule::crop, view(in, h, w), height, width);
}

TEST(Resize, fastwam_recorded_crops) {
  const golden::File file("fastwam_tiny");
  EXPECT_EQ(crop_case(0, 100, 75, 48, 64), file["host.resize0"].as<std::uint8_t>());
  EXPECT_EQ(crop_case(1, 61, 97, 64, 80), file["host.resize1"].as<std::uint8_t>());
  EXPECT_EQ(crop_case(2, 48, 64, 31, 45), file["host.resize2"].as<std::uint8_t>());
  const auto big = crop_case(3, 256, 256, 224, 224);
  const auto row = file["host.resize3.row100"].as<std::uint8_t>();
  EXPECT_TRUE(std::equal(row.begin(), row.end(), big.begin() + 100 * 224 * 3));
  EXPECT_EQ(
      fnv1a64({reinterpret_cast<const char*>(big.data()), big.size()}),
      std::stoull(file.json["hashes"]["resize3_fnv1a_of_u8_rows"].get<std::string>(), nullptr, 16));
}

// The vector loops are the plain ones, bit for bit, at every remainder.
TEST(Resize, kernels_of_every_instruction_set_agree) {
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("avx2")) GTEST_SKIP() << "no AVX2 here";
  for (int n : {5, 7, 8, 31, 64}) {
    for (int m : {1, 2, 3, 9, 16, 50}) {
      const int taps = 8;
      const auto bytes = byte_values("kernel", std::size_t(n) * n * 3);
      std::vector<std::int32_t> first(m), count(m), weight(static_cast<std::size_t>(m) * taps, 0);
      for (int i = 0; i < m; ++i) {
        first[i] = std::min(i * n / m, n - 1);
        count[i] = std::min(taps - 1, n - first[i]);
        for (int k = 0; k < count[i]; ++k) weight[i * taps + k] = (1 << 22) / count[i] + k;
      }
      std::vector<std::int32_t> high, low;
      for (std::size_t i = 0; i < weight.size(); i += 2) {
        high.push_back(weight[i] >> 11 | weight[i + 1] >> 11 << 16);
        low.push_back((weight[i] & 2047) | (weight[i + 1] & 2047) << 16);
      }
      const resize_detail::Taps t{
          first.data(), count.data(), weight.data(), high.data(), low.data(), m, taps, n};
      std::vector<std::uint8_t> a(n * m * 3), b(n * m * 3);
      resize_detail::columns({bytes.data(), n * 3, a.data(), m * 3, n}, t);
      resize_detail::columns_avx2({bytes.data(), n * 3, b.data(), m * 3, n}, t);
      EXPECT_EQ(a, b) << n << " " << m;
      std::vector<std::uint8_t> c(n * 3), d(n * 3);
      for (int i = 0; i < m; ++i) {
        resize_detail::rows({bytes.data(), n * 3, n * 3}, t, i, c.data());
        resize_detail::rows_avx2({bytes.data(), n * 3, n * 3}, t, i, d.data());
        EXPECT_EQ(c, d) << n << " " << m << " " << i;
      }
    }
  }
#endif
}

TEST(Resize, reads_rows_with_a_stride) {
  const auto in = byte_values("strided", 20 * 50 * 3);
  const ImageView part{in.data() + 6, 20, 31, 150};  // columns 2..32
  std::vector<std::uint8_t> dense;
  for (int y = 0; y < 20; ++y) dense.insert(dense.end(), part.row(y), part.row(y) + 93);
  EXPECT_EQ(placed(ResizeRule::letterbox, part, 24, 24),
            placed(ResizeRule::letterbox, view(dense, 20, 31), 24, 24));
}

// torch.nn.functional.interpolate's definition, written out in double.
double bilinear_at(const std::vector<float>& in, int h, int w, double y, double x) {
  y = std::max(0.0, y);
  x = std::max(0.0, x);
  const int y0 = static_cast<int>(y), x0 = static_cast<int>(x);
  const int y1 = std::min(y0 + 1, h - 1), x1 = std::min(x0 + 1, w - 1);
  const double fy = y - y0, fx = x - x0;
  return (1 - fy) * ((1 - fx) * in[y0 * w + x0] + fx * in[y0 * w + x1]) +
         fy * ((1 - fx) * in[y1 * w + x0] + fx * in[y1 * w + x1]);
}

TEST(Resize, float_bilinear_has_no_antialias) {
  const int h = 37, w = 53, th = 16, tw = 23;
  const auto in = golden::unit_values("float", std::size_t(h) * w * 3);
  std::vector<float> out(std::size_t(th) * tw * 3);
  Resizer().resize_floats({in.data(), h, w}, {out.data(), th, tw});
  for (int c = 0; c < 3; ++c) {
    std::vector<float> plane;
    for (std::size_t i = c; i < in.size(); i += 3) plane.push_back(in[i]);
    for (int y = 0; y < th; ++y) {
      for (int x = 0; x < tw; ++x) {
        const double want =
            bilinear_at(plane, h, w, (y + 0.5) * h / th - 0.5, (x + 0.5) * w / tw - 0.5);
        EXPECT_NEAR(out[(y * tw + x) * 3 + c], want, 1e-4);
      }
    }
  }
}

TEST(Resize, antialiased_floats_follow_the_byte_filter) {
  const int h = 64, w = 48;
  const auto bytes = byte_values("antialiased", std::size_t(h) * w * 3);
  const auto small = placed(ResizeRule::squash, view(bytes, h, w), 20, 24);
  std::vector<float> values(bytes.size()), out(20 * 24 * 3);
  for (std::size_t i = 0; i < bytes.size(); ++i) values[i] = bytes[i] / 255.0f;
  Resizer().resize_floats_antialiased({values.data(), h, w}, {out.data(), 20, 24});
  for (std::size_t i = 0; i < out.size(); ++i) {  // two roundings to bytes apart
    EXPECT_NEAR(out[i] * 255.0f, small[i], 1.01);
  }
}

// LeRobot's letterbox, and its form before 0.5 whose bars end at -3.
TEST(Resize, float_letterbox_bars) {
  const auto in = golden::unit_values("bars", 10 * 20 * 3, 0.4f);
  for (const auto& [rule, bar] : {std::pair{ResizeRule::letterbox_float, 0.0f},
                                  std::pair{ResizeRule::letterbox_float_dark, -1.0f}}) {
    std::vector<float> out(16 * 16 * 3, 9);
    Composer composer(rule);
    composer.place(FloatView{in.data(), 10, 20}, whole(16, 16), {"slot", 16, 16, {}}, out.data());
    EXPECT_EQ(out[0], bar);
    EXPECT_EQ(out[(3 * 16 + 15) * 3 + 2], bar);  // the last of 4 dark rows above
    EXPECT_NE(out[(4 * 16) * 3], bar);           // 8 rows of picture
    EXPECT_EQ(out[(12 * 16) * 3], bar);
    for (const float v : out) EXPECT_GE(v, bar);  // clamped where the picture is below it
  }
}

}  // namespace
}  // namespace tendon
