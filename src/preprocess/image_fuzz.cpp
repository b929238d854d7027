// Any bytes as a picture: decoded or refused, nothing else.
#include <cstdint>
#include <span>

#include "base/error.h"
#include "preprocess/compose.h"
#include "preprocess/image_io.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const tendon::ImageBuffer image =
        tendon::decode_image(std::as_bytes(std::span(data, size)), "fuzz");
    if (image.size() > std::size_t{1} << 22) return 0;  // a slow resize is no finding
    tendon::Composer composer(tendon::ResizeRule::letterbox);
    tendon::Camera camera;
    camera.height = camera.width = 28;
    std::uint8_t picture[28 * 28 * 3];
    composer.place(image.view(), camera, {"slot", 28, 28, {}}, picture);
  } catch (const tendon::Error&) {
  }
  return 0;
}
