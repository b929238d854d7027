#include "sim/gif.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "sim/random.h"

namespace tendon::sim {
namespace {

// A reader of the coding, written from GIF89a's appendix F rather than from the writer.
std::vector<std::uint8_t> unpacked(const std::vector<std::uint8_t>& bytes) {
  std::vector<std::vector<std::uint8_t>> table;
  std::vector<std::uint8_t> out, previous;
  std::size_t bit = 0;
  int width = 9;
  const auto restart = [&] {
    table.assign(258, {});
    for (int i = 0; i < 256; ++i) table[i] = {static_cast<std::uint8_t>(i)};
    width = 9;
    previous.clear();
  };
  restart();
  for (;;) {
    int code = 0;
    for (int i = 0; i < width; ++i, ++bit) {
      if (bit / 8 >= bytes.size()) return {};
      code |= (bytes[bit / 8] >> (bit % 8) & 1) << i;
    }
    if (code == 257) return out;
    if (code == 256) {
      restart();
      continue;
    }
    std::vector<std::uint8_t> entry;
    if (code < static_cast<int>(table.size())) {
      entry = table[code];
    } else {
      if (previous.empty() || code != static_cast<int>(table.size())) return {};
      entry = previous;
      entry.push_back(previous[0]);
    }
    out.insert(out.end(), entry.begin(), entry.end());
    if (!previous.empty() && table.size() < 4096) {
      previous.push_back(entry[0]);
      table.push_back(previous);
      if (table.size() == std::size_t{1} << width && width < 12) ++width;
    }
    previous = entry;
  }
}

TEST(Gif, PackedSymbolsComeBack) {
  Random random(1, 1);
  for (const int size : {0, 1, 2, 255, 256, 257, 300, 5000, 60000}) {
    for (const int alphabet : {1, 2, 7, 256}) {
      std::vector<std::uint8_t> symbols(size);
      for (auto& symbol : symbols) symbol = static_cast<std::uint8_t>(random.index(alphabet));
      EXPECT_EQ(unpacked(lzw(symbols)), symbols) << size << " of " << alphabet;
    }
  }
  // Every length around the places where codes grow.
  for (int size = 200; size < 1200; ++size) {
    std::vector<std::uint8_t> symbols(size);
    for (int i = 0; i < size; ++i) symbols[i] = static_cast<std::uint8_t>(i * 7 + i / 256);
    ASSERT_EQ(unpacked(lzw(symbols)), symbols) << size;
  }
}

TEST(Gif, HoldsItsPaletteFramesAndDelay) {
  Picture picture(20, 10, {255, 0, 0});
  const std::vector<std::uint8_t> bytes =
      gif_bytes(std::vector<GifFrame>{{picture, 5}, {picture, 9}});
  EXPECT_EQ(std::string(bytes.begin(), bytes.begin() + 6), "GIF89a");
  EXPECT_EQ(bytes[6] | bytes[7] << 8, 20);
  EXPECT_EQ(bytes[8] | bytes[9] << 8, 10);
  EXPECT_EQ(bytes.back(), 0x3B);
  const std::size_t control = 13 + 768 + 19;
  EXPECT_EQ(bytes[control], 0x21);
  EXPECT_EQ(bytes[control + 4], 5);
  EXPECT_EQ(bytes[13], 255);  // the first colour is the most frequent one
  EXPECT_EQ(bytes[14], 0);
  EXPECT_THROW(gif_bytes({}), Error);
  EXPECT_THROW(gif_bytes(std::vector<GifFrame>{{picture, 5}, {Picture(9, 9, {}), 5}}), Error);
}

TEST(Gif, ThePaletteKeepsFrequentColoursAndIsNearForTheRest) {
  Picture picture(64, 64, {133, 122, 110});
  for (int i = 0; i < 32 * 64; ++i) {  // half of the picture: 2048 other colours
    std::uint8_t* pixel = picture.rgb.data() + 3 * i;
    pixel[0] = static_cast<std::uint8_t>(i % 16 * 16);
    pixel[1] = static_cast<std::uint8_t>(i / 16 % 16 * 16);
    pixel[2] = static_cast<std::uint8_t>(i / 256 * 16);
  }
  const Palette palette(std::vector<GifFrame>{{picture, 5}});
  const Colour table = palette.colour(palette.index({133, 122, 110}));
  EXPECT_EQ(table.red, 133);
  EXPECT_EQ(table.green, 122);
  int kept = 0;
  for (int i = 0; i < 32 * 64; ++i) {
    const std::uint8_t* pixel = picture.rgb.data() + 3 * i;
    const Colour got = palette.colour(palette.index({pixel[0], pixel[1], pixel[2]}));
    kept += got.red == pixel[0] && got.green == pixel[1] && got.blue == pixel[2];
  }
  EXPECT_EQ(kept, 255);
}

TEST(Picture, AFileComesBackAsItWas) {
  Picture picture(31, 17, {10, 20, 30});
  write_text(picture, "a1?", {2, 3, 1, {250, 1, 2}});
  const std::string path = testing::TempDir() + "tendon_picture.png";
  write_png(path, picture);
  EXPECT_EQ(read_png(path).rgb, picture.rgb);
  std::filesystem::remove(path);
  EXPECT_THROW(read_png(path), Error);
}

TEST(Picture, TextIsDrawnInItsPlaceAndCutAtTheEdge) {
  Picture picture(12, 7, {});
  write_text(picture, "I I", {0, 0, 1, {255, 255, 255}});
  EXPECT_EQ(picture.rgb[3 * 2], 255);   // the stem of the first letter
  EXPECT_EQ(picture.rgb[3 * 6], 0);     // the blank
  EXPECT_EQ(text_width("I I", 1), 18);  // the third letter is outside
}

TEST(Picture, ShrinkingAverages) {
  Picture picture(4, 2, {100, 100, 100});
  picture.fill(0, 0, 1, 1, {200, 0, 100});
  const Picture small = shrunk(picture.view(), 2);
  EXPECT_EQ(small.width, 2);
  EXPECT_EQ(small.rgb, (std::vector<std::uint8_t>{125, 75, 100, 100, 100, 100}));
}

}  // namespace
}  // namespace tendon::sim
