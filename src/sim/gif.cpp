#include "sim/gif.h"

#include <algorithm>
#include <fstream>
#include <numeric>

#include "tendon/error.h"

namespace tendon::sim {
namespace {

constexpr std::size_t kCells = 32 * 32 * 32;
constexpr int kClear = 256, kEnd = 257, kFirstCode = 258, kMostCodes = 4096;

// What falls into one cell of the colour cube.
struct Cell {
  std::uint64_t count = 0, red = 0, green = 0, blue = 0;

  Colour mean() const {
    const std::uint64_t n = std::max<std::uint64_t>(count, 1);
    return {static_cast<std::uint8_t>(red / n), static_cast<std::uint8_t>(green / n),
            static_cast<std::uint8_t>(blue / n)};
  }
};

int squared_distance(Colour a, Colour b) {
  const int red = a.red - b.red, green = a.green - b.green, blue = a.blue - b.blue;
  return 3 * red * red + 6 * green * green + blue * blue;  // about as eyes weigh them
}

class BitWriter {
 public:
  void put(int code, int bits) {
    pending_ |= static_cast<std::uint32_t>(code) << count_;
    for (count_ += bits; count_ >= 8; count_ -= 8, pending_ >>= 8) {
      bytes_.push_back(static_cast<std::uint8_t>(pending_));
    }
  }
  std::vector<std::uint8_t> finish() {
    if (count_ > 0) bytes_.push_back(static_cast<std::uint8_t>(pending_));
    return std::move(bytes_);
  }

 private:
  std::vector<std::uint8_t> bytes_;
  std::uint32_t pending_ = 0;
  int count_ = 0;
};

void put16(std::vector<std::uint8_t>& out, int value) {
  out.push_back(static_cast<std::uint8_t>(value));
  out.push_back(static_cast<std::uint8_t>(value >> 8));
}

void put_header(std::vector<std::uint8_t>& out, const Picture& first, const Palette& palette) {
  for (const char character : std::string_view("GIF89a")) {
    out.push_back(static_cast<std::uint8_t>(character));
  }
  put16(out, first.width), put16(out, first.height);
  out.insert(out.end(), {0xF7, 0, 0});  // a global palette of 256 colours, 8 bits each
  for (int i = 0; i < 256; ++i) {
    const Colour colour = palette.colour(static_cast<std::uint8_t>(i));
    out.insert(out.end(), {colour.red, colour.green, colour.blue});
  }
  out.insert(out.end(), {0x21, 0xFF, 11});
  for (const char character : std::string_view("NETSCAPE2.0")) {
    out.push_back(static_cast<std::uint8_t>(character));
  }
  out.insert(out.end(), {3, 1, 0, 0, 0});  // repeat without end
}

void put_frame(std::vector<std::uint8_t>& out, const GifFrame& frame, const Palette& palette) {
  const Picture& picture = frame.picture;
  out.insert(out.end(), {0x21, 0xF9, 4, 0});
  put16(out, frame.hundredths);
  out.insert(out.end(), {0, 0, 0x2C, 0, 0, 0, 0});
  put16(out, picture.width), put16(out, picture.height);
  out.insert(out.end(), {0, 8});
  std::vector<std::uint8_t> symbols(picture.rgb.size() / 3);
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    const std::uint8_t* pixel = picture.rgb.data() + 3 * i;
    symbols[i] = palette.index({pixel[0], pixel[1], pixel[2]});
  }
  const std::vector<std::uint8_t> packed = lzw(symbols);
  for (std::size_t at = 0; at < packed.size(); at += 255) {
    const std::size_t size = std::min<std::size_t>(255, packed.size() - at);
    out.push_back(static_cast<std::uint8_t>(size));
    out.insert(out.end(), packed.begin() + static_cast<std::ptrdiff_t>(at),
               packed.begin() + static_cast<std::ptrdiff_t>(at + size));
  }
  out.push_back(0);
}

}  // namespace

std::size_t Palette::cell(Colour colour) {
  return static_cast<std::size_t>(colour.red >> 3) << 10 | (colour.green >> 3) << 5 |
         colour.blue >> 3;
}

Palette::Palette(std::span<const GifFrame> frames) : nearest_(kCells) {
  std::vector<Cell> cells(kCells);
  for (const GifFrame& frame : frames) {
    for (std::size_t i = 0; i + 2 < frame.picture.rgb.size(); i += 3) {
      const std::uint8_t* pixel = frame.picture.rgb.data() + i;
      Cell& at = cells[cell({pixel[0], pixel[1], pixel[2]})];
      ++at.count, at.red += pixel[0], at.green += pixel[1], at.blue += pixel[2];
    }
  }
  std::vector<std::size_t> order(kCells);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return cells[a].count > cells[b].count; });
  for (std::size_t i = 0; i < colours_.size(); ++i) colours_[i] = cells[order[i]].mean();
  for (std::size_t c = 0; c < kCells; ++c) {
    if (cells[c].count == 0) continue;
    const Colour wanted = cells[c].mean();
    const auto best = std::min_element(colours_.begin(), colours_.end(), [&](Colour a, Colour b) {
      return squared_distance(a, wanted) < squared_distance(b, wanted);
    });
    nearest_[c] = static_cast<std::uint8_t>(best - colours_.begin());
  }
}

std::vector<std::uint8_t> lzw(std::span<const std::uint8_t> symbols) {
  BitWriter bits;
  // next[code * 256 + symbol]: the code of that string followed by the symbol; 0: none yet.
  std::vector<std::uint16_t> next(kMostCodes * 256, 0);
  int codes = kFirstCode, width = 9, current = -1;
  bits.put(kClear, width);
  for (const std::uint8_t symbol : symbols) {
    if (current < 0) {
      current = symbol;
      continue;
    }
    std::uint16_t& longer = next[static_cast<std::size_t>(current) * 256 + symbol];
    if (longer != 0) {
      current = longer;
      continue;
    }
    bits.put(current, width);
    current = symbol;
    if (codes < kMostCodes) {
      longer = static_cast<std::uint16_t>(codes++);
      if (codes > 1 << width && width < 12) ++width;
    } else {
      bits.put(kClear, width);
      std::fill(next.begin(), next.end(), std::uint16_t{0});
      codes = kFirstCode, width = 9;
    }
  }
  if (current >= 0) bits.put(current, width);
  if (codes == 1 << width && width < 12) ++width;  // the reader adds a last entry before the end
  bits.put(kEnd, width);
  return bits.finish();
}

std::vector<std::uint8_t> gif_bytes(std::span<const GifFrame> frames) {
  if (frames.empty()) throw Error("gif: an animation needs a frame");
  std::vector<std::uint8_t> out;
  const Palette palette(frames);
  put_header(out, frames[0].picture, palette);
  for (const GifFrame& frame : frames) {
    if (frame.picture.width != frames[0].picture.width ||
        frame.picture.height != frames[0].picture.height) {
      throw Error("gif: frames of one file must have one size");
    }
    put_frame(out, frame, palette);
  }
  out.push_back(0x3B);
  return out;
}

void write_gif(const std::string& path, std::span<const GifFrame> frames) {
  const std::vector<std::uint8_t> bytes = gif_bytes(frames);
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) throw Error("cannot write " + path);
}

}  // namespace tendon::sim
