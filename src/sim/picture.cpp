#include "sim/picture.h"

#include <png.h>

#include <algorithm>
#include <cstring>

#include "tendon/error.h"

namespace tendon::sim {
namespace {

std::size_t row_bytes(const Image& image) {
  return image.row_bytes != 0 ? image.row_bytes : 3 * static_cast<std::size_t>(image.width);
}

}  // namespace

Picture::Picture(int picture_width, int picture_height, Colour colour)
    : width(picture_width),
      height(picture_height),
      rgb(3 * static_cast<std::size_t>(picture_width) * picture_height) {
  fill(0, 0, width, height, colour);
}

void Picture::paste(const Image& image, int x, int y) {
  const int left = std::max(x, 0), right = std::min(x + image.width, width);
  if (left >= right) return;
  for (int row = std::max(y, 0); row < std::min(y + image.height, height); ++row) {
    const std::uint8_t* from = image.data + (row - y) * row_bytes(image) + 3 * (left - x);
    const std::size_t at = 3 * (static_cast<std::size_t>(row) * width + left);
    std::memcpy(rgb.data() + at, from, 3 * static_cast<std::size_t>(right - left));
  }
}

void Picture::fill(int x, int y, int fill_width, int fill_height, Colour colour) {
  for (int row = std::max(y, 0); row < std::min(y + fill_height, height); ++row) {
    for (int column = std::max(x, 0); column < std::min(x + fill_width, width); ++column) {
      std::uint8_t* pixel = rgb.data() + 3 * (static_cast<std::size_t>(row) * width + column);
      pixel[0] = colour.red, pixel[1] = colour.green, pixel[2] = colour.blue;
    }
  }
}

Picture shrunk(const Image& image, int factor) {
  Picture small(image.width / factor, image.height / factor, {});
  const unsigned area = static_cast<unsigned>(factor) * factor;
  for (int row = 0; row < small.height; ++row) {
    for (int i = 0; i < 3 * small.width; ++i) {
      unsigned sum = area / 2;
      for (int dy = 0; dy < factor; ++dy) {
        const std::uint8_t* line = image.data + (row * factor + dy) * row_bytes(image);
        for (int dx = 0; dx < factor; ++dx) sum += line[3 * (i / 3 * factor + dx) + i % 3];
      }
      small.rgb[3 * static_cast<std::size_t>(row) * small.width + i] =
          static_cast<std::uint8_t>(sum / area);
    }
  }
  return small;
}

void write_png(const std::string& path, const Picture& picture) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(picture.width);
  image.height = static_cast<png_uint_32>(picture.height);
  image.format = PNG_FORMAT_RGB;
  if (png_image_write_to_file(&image, path.c_str(), 0, picture.rgb.data(), 0, nullptr) == 0) {
    throw Error("cannot write " + path + ": " + image.message);
  }
}

Picture read_png(const std::string& path) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  Picture picture;
  if (png_image_begin_read_from_file(&image, path.c_str()) != 0) {
    image.format = PNG_FORMAT_RGB;
    picture = Picture(static_cast<int>(image.width), static_cast<int>(image.height), {});
    if (png_image_finish_read(&image, nullptr, picture.rgb.data(), 0, nullptr) != 0) {
      return picture;
    }
  }
  throw Error("cannot read " + path + ": " + image.message);
}

}  // namespace tendon::sim
