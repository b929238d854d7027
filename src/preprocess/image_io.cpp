#include "preprocess/image_io.h"

#include <png.h>
#include <turbojpeg.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/file.h"

namespace tendon {

namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{1} << 28;

void check_size(std::int64_t width, std::int64_t height, std::string_view name) {
  require(width > 0 && height > 0 && width <= kMaxImageSide && height <= kMaxImageSide &&
              width * height <= kMaxImagePixels,
          "{}: a picture of {}x{} pixels is over the limit of {} pixels a side and {} in all", name,
          width, height, kMaxImageSide, kMaxImagePixels);
}

// What libpng's callbacks share. Errors leave through longjmp, so nothing here has a destructor.
struct PngSource {
  const std::byte* data;
  std::size_t size, at;
  char message[160];
};

void on_png_error(png_structp png, png_const_charp message) {
  auto* source = static_cast<PngSource*>(png_get_error_ptr(png));
  std::snprintf(source->message, sizeof source->message, "%s", message);
  png_longjmp(png, 1);
}

void on_png_warning(png_structp, png_const_charp) {}

void read_png_bytes(png_structp png, png_bytep out, png_size_t count) {
  auto* source = static_cast<PngSource*>(png_get_io_ptr(png));
  if (count > source->size - source->at) png_error(png, "the file ends early");
  std::memcpy(out, source->data + source->at, count);
  source->at += count;
}

struct PngReader {
  png_structp png = nullptr;
  png_infop info = nullptr;
  explicit PngReader(PngSource& source) {
    png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &source, on_png_error, on_png_warning);
    if (png) info = png_create_info_struct(png);
  }
  ~PngReader() { png_destroy_read_struct(&png, &info, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;
};

// False: source.message says why. Only trivially destructible objects may live in these two frames.
bool read_png_header(PngReader& reader, PngSource& source) {
  if (setjmp(png_jmpbuf(reader.png))) return false;
  png_set_user_limits(reader.png, kMaxImageSide, kMaxImageSide);
  png_set_read_fn(reader.png, &source, read_png_bytes);
  png_read_info(reader.png, reader.info);
  png_set_expand(reader.png);
  png_set_strip_16(reader.png);
  png_set_strip_alpha(reader.png);
  png_set_gray_to_rgb(reader.png);
  png_set_interlace_handling(reader.png);
  png_read_update_info(reader.png, reader.info);
  return true;
}

bool read_png_rows(PngReader& reader, png_bytepp rows) {
  if (setjmp(png_jmpbuf(reader.png))) return false;
  png_read_image(reader.png, rows);
  png_read_end(reader.png, nullptr);
  return true;
}

ImageBuffer decode_png(std::span<const std::byte> bytes, std::string_view name) {
  PngSource source{bytes.data(), bytes.size(), 0, {}};
  PngReader reader(source);
  require(reader.info != nullptr, "{}: libpng could not start", name);
  if (!read_png_header(reader, source)) fail("{}: no readable PNG: {}", name, source.message);
  const std::int64_t width = png_get_image_width(reader.png, reader.info);
  const std::int64_t height = png_get_image_height(reader.png, reader.info);
  check_size(width, height, name);
  require(png_get_rowbytes(reader.png, reader.info) == static_cast<std::size_t>(width) * 3,
          "{}: this kind of PNG does not expand to RGB", name);
  ImageBuffer image(static_cast<int>(height), static_cast<int>(width));
  std::vector<png_bytep> rows(height);
  for (int y = 0; y < height; ++y) rows[y] = image.row(y);
  if (!read_png_rows(reader, rows.data())) fail("{}: damaged PNG: {}", name, source.message);
  return image;
}

using JpegHandle = std::unique_ptr<void, int (*)(void*)>;

ImageBuffer decode_jpeg(std::span<const std::byte> bytes, std::string_view name) {
  const JpegHandle jpeg(tjInitDecompress(), tjDestroy);
  require(jpeg != nullptr, "{}: libturbojpeg could not start", name);
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  int width = 0, height = 0, sampling = 0, colours = 0;
  if (tjDecompressHeader3(jpeg.get(), data, bytes.size(), &width, &height, &sampling, &colours) !=
      0) {
    fail("{}: no readable JPEG: {}", name, tjGetErrorStr2(jpeg.get()));
  }
  check_size(width, height, name);
  ImageBuffer image(height, width);
  if (tjDecompress2(jpeg.get(), data, bytes.size(), image.data(), width, width * 3, height,
                    TJPF_RGB, TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS) != 0) {
    fail("{}: damaged JPEG: {}", name, tjGetErrorStr2(jpeg.get()));
  }
  return image;
}

bool starts_with(std::span<const std::byte> bytes, std::string_view magic) {
  return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

void append_png_bytes(png_structp png, png_bytep data, png_size_t count) {
  auto* out = static_cast<std::vector<std::byte>*>(png_get_io_ptr(png));
  const auto* first = reinterpret_cast<const std::byte*>(data);
  out->insert(out->end(), first, first + count);
}

}  // namespace

ImageBuffer decode_image(std::span<const std::byte> bytes, std::string_view name) {
  if (starts_with(bytes, "\x89PNG\r\n\x1a\n")) return decode_png(bytes, name);
  if (starts_with(bytes, "\xff\xd8\xff")) return decode_jpeg(bytes, name);
  fail("{}: neither PNG nor JPEG ({} bytes); convert the picture to one of them", name,
       bytes.size());
}

ImageBuffer read_image(const std::filesystem::path& file) {
  const std::string bytes = read_file(file, kMaxFileBytes);
  return decode_image(std::as_bytes(std::span(bytes)), file.string());
}

namespace {

// False: libpng gave up. Only trivially destructible objects may live in this frame.
bool write_png_image(png_structp png, png_infop info, const ImageView& image) {
  if (setjmp(png_jmpbuf(png))) return false;
  png_set_IHDR(png, info, image.width, image.height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  for (int y = 0; y < image.height; ++y) png_write_row(png, image.row(y));
  png_write_end(png, nullptr);
  return true;
}

}  // namespace

std::vector<std::byte> encode_png(const ImageView& image) {
  std::vector<std::byte> out;
  PngSource source{};
  png_structp png =
      png_create_write_struct(PNG_LIBPNG_VER_STRING, &source, on_png_error, on_png_warning);
  png_infop info = png ? png_create_info_struct(png) : nullptr;
  if (info != nullptr) png_set_write_fn(png, &out, append_png_bytes, nullptr);
  const bool good = info != nullptr && write_png_image(png, info, image);
  png_destroy_write_struct(&png, &info);
  require(good, "encoding a PNG of {}x{} failed: {}", image.width, image.height, source.message);
  return out;
}

void write_png(const std::filesystem::path& file, const ImageView& image) {
  write_file(file, encode_png(image));
}

}  // namespace tendon
