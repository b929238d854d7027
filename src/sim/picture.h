// 8-bit RGB pictures in memory, and PNG files of them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tendon/tendon.h"

namespace tendon::sim {

struct Colour {
  std::uint8_t red = 0, green = 0, blue = 0;
};

// Owns its pixels, row after row.
struct Picture {
  int width = 0, height = 0;
  std::vector<std::uint8_t> rgb;  // [height, width, 3]

  Picture() = default;
  Picture(int picture_width, int picture_height, Colour fill);

  // Copies `image` with its top left corner at (x, y); what lies outside is dropped.
  void paste(const Image& image, int x, int y);
  void fill(int x, int y, int fill_width, int fill_height, Colour colour);
  Image view() const { return {rgb.data(), height, width, 0}; }
};

// Averages blocks of `factor` x `factor` pixels.
Picture shrunk(const Image& image, int factor);

struct Pen {
  int x = 0, y = 0;  // top left corner of the first character
  int scale = 1;     // pixels a dot
  Colour colour = {};
};

// Text in capitals of 5x7 dots; characters without a glyph leave a blank.
void write_text(Picture& picture, std::string_view text, Pen pen);
int text_width(std::string_view text, int scale);

// Throw Error naming the path.
void write_png(const std::string& path, const Picture& picture);
Picture read_png(const std::string& path);

}  // namespace tendon::sim
