// Animated GIF files.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sim/picture.h"

namespace tendon::sim {

struct GifFrame {
  Picture picture;     // all of a file in one size
  int hundredths = 5;  // how long it is shown
};

// The file's bytes; it repeats for ever. Throws Error where frames are missing or differ in size.
std::vector<std::uint8_t> gif_bytes(std::span<const GifFrame> frames);

// Throws Error naming the path.
void write_gif(const std::string& path, std::span<const GifFrame> frames);

// LZW as GIF wants it: 8-bit symbols, codes from 9 to 12 bits, low bits first.
std::vector<std::uint8_t> lzw(std::span<const std::uint8_t> symbols);

// The 256 colours that a file's frames need most, and the nearest of them to any colour. Colours
// are told apart by their upper 5 bits a channel.
class Palette {
 public:
  explicit Palette(std::span<const GifFrame> frames);

  std::uint8_t index(Colour colour) const { return nearest_[cell(colour)]; }
  Colour colour(std::uint8_t index) const { return colours_[index]; }

 private:
  static std::size_t cell(Colour colour);

  std::array<Colour, 256> colours_ = {};
  std::vector<std::uint8_t> nearest_;  // of each cell
};

}  // namespace tendon::sim
