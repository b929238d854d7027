// PNG and JPEG files to RGB bytes and back.
#pragma once

#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "preprocess/image.h"

namespace tendon {

// The largest side and number of pixels that a picture may have.
inline constexpr int kMaxImageSide = 16384;
inline constexpr std::int64_t kMaxImagePixels = std::int64_t{1} << 26;

// By content, not by name. Alpha is dropped, grey and palettes are expanded, 16 bits are cut to 8;
// the orientation note of a camera is ignored. Throws Error with one sentence that names `name`.
ImageBuffer decode_image(std::span<const std::byte> bytes, std::string_view name);
ImageBuffer read_image(const std::filesystem::path& file);

std::vector<std::byte> encode_png(const ImageView& image);
void write_png(const std::filesystem::path& file, const ImageView& image);

}  // namespace tendon
