#include "preprocess/image_io.h"

#include <gtest/gtest.h>
#include <png.h>
#include <turbojpeg.h>
#include <unistd.h>

#include <cstring>

#include "base/error.h"
#include "base/file.h"
#include "tests/support/golden.h"

namespace tendon {
namespace {

namespace fs = std::filesystem;

std::vector<std::uint8_t> pixels(const ImageBuffer& image) {
  return {image.data(), image.data() + image.size()};
}

TEST(ImageIo, png_round_trip) {
  const auto bytes = golden::byte_values("png", 13 * 17 * 3);
  const auto file = encode_png({bytes.data(), 13, 17, 17 * 3});
  const ImageBuffer image = decode_image(file, "memory");
  EXPECT_EQ(image.height(), 13);
  EXPECT_EQ(image.width(), 17);
  EXPECT_EQ(pixels(image), bytes);
}

// A PNG of any kind through libpng's simple writer.
std::vector<std::byte> simple_png(png_uint_32 format, const void* data, int height, int width) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = width;
  image.height = height;
  image.format = format;
  png_alloc_size_t size = 0;
  png_image_write_to_memory(&image, nullptr, &size, 0, data, 0, nullptr);
  std::vector<std::byte> out(size);
  EXPECT_TRUE(png_image_write_to_memory(&image, out.data(), &size, 0, data, 0, nullptr));
  out.resize(size);
  return out;
}

TEST(ImageIo, alpha_is_dropped_and_grey_is_spread) {
  const std::vector<std::uint8_t> rgba{10, 20, 30, 0, 40, 50, 60, 128};
  EXPECT_EQ(pixels(decode_image(simple_png(PNG_FORMAT_RGBA, rgba.data(), 1, 2), "rgba")),
            (std::vector<std::uint8_t>{10, 20, 30, 40, 50, 60}));
  const std::vector<std::uint8_t> grey{7, 200};
  EXPECT_EQ(pixels(decode_image(simple_png(PNG_FORMAT_GRAY, grey.data(), 1, 2), "grey")),
            (std::vector<std::uint8_t>{7, 7, 7, 200, 200, 200}));
}

std::vector<std::byte> jpeg_of(const std::vector<std::uint8_t>& rgb, int height, int width,
                               int sampling) {
  tjhandle jpeg = tjInitCompress();
  unsigned char* data = nullptr;
  unsigned long size = 0;
  EXPECT_EQ(
      tjCompress2(jpeg, rgb.data(), width, 0, height, TJPF_RGB, &data, &size, sampling, 95, 0), 0);
  std::vector<std::byte> out(size);
  std::memcpy(out.data(), data, size);
  tjFree(data);
  tjDestroy(jpeg);
  return out;
}

std::vector<std::uint8_t> ramp(int height, int width) {
  std::vector<std::uint8_t> out;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      out.push_back(static_cast<std::uint8_t>(4 * x));
      out.push_back(static_cast<std::uint8_t>(4 * y));
      out.push_back(static_cast<std::uint8_t>(2 * x + 2 * y));
    }
  }
  return out;
}

TEST(ImageIo, jpeg_is_read_as_rgb) {
  const auto rgb = ramp(40, 60);
  for (const int sampling : {TJSAMP_444, TJSAMP_420}) {
    const ImageBuffer image = decode_image(jpeg_of(rgb, 40, 60, sampling), "ramp.jpg");
    ASSERT_EQ(image.size(), rgb.size());
    for (std::size_t i = 0; i < rgb.size(); ++i) ASSERT_NEAR(image.data()[i], rgb[i], 12) << i;
  }
}

std::string refusal(std::span<const std::byte> bytes) {
  try {
    decode_image(bytes, "camera.png");
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(ImageIo, broken_files_are_refused_by_name) {
  const auto rgb = ramp(40, 60);
  const auto png = encode_png({rgb.data(), 40, 60, 180});
  const auto jpeg = jpeg_of(rgb, 40, 60, TJSAMP_420);
  for (const auto& file : {png, jpeg}) {
    for (std::size_t size :
         {std::size_t{0}, std::size_t{3}, std::size_t{20}, file.size() / 2, file.size() - 3}) {
      const std::string why = refusal(std::span(file).first(size));
      EXPECT_TRUE(why.starts_with("camera.png: ")) << size << ": " << why;
    }
    auto bent = file;
    for (std::size_t i = file.size() / 2; i < file.size() / 2 + 8; ++i) bent[i] ^= std::byte{0xff};
    if (file == png) {
      EXPECT_NE(refusal(bent), "");
    }
  }
  EXPECT_NE(refusal({}), "");
}

TEST(ImageIo, lying_sizes_are_refused_before_memory_is_taken) {
  const auto rgb = ramp(4, 4);
  auto png = encode_png({rgb.data(), 4, 4, 12});
  png[16] = std::byte{0x7f};  // the width's highest byte, whose checksum then fails too
  EXPECT_NE(refusal(png), "");
  auto jpeg = jpeg_of(rgb, 4, 4, TJSAMP_444);
  for (std::size_t i = 0; i + 8 < jpeg.size(); ++i) {
    if (jpeg[i] == std::byte{0xff} && jpeg[i + 1] == std::byte{0xc0}) {
      for (std::size_t k = 5; k < 9; ++k) jpeg[i + k] = std::byte{0xea};  // 60138 x 60138
    }
  }
  EXPECT_NE(refusal(jpeg).find("over the limit"), std::string::npos) << refusal(jpeg);
}

TEST(ImageIo, files) {
  const fs::path file =
      fs::temp_directory_path() / ("tendon_image_" + std::to_string(::getpid()) + ".png");
  const auto rgb = ramp(5, 6);
  write_png(file, {rgb.data(), 5, 6, 18});
  EXPECT_EQ(pixels(read_image(file)), rgb);
  fs::remove(file);
  EXPECT_THROW(read_image(file), Error);
  EXPECT_THROW(read_image(fs::temp_directory_path()), Error);
}

}  // namespace
}  // namespace tendon
