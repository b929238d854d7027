#include "support/frames.h"

#include <numeric>

#include "preprocess/frames.h"
#include "support/record_case.h"
#include "support/values.h"

namespace tendon::support {

using shapes::Resize;

ImageRules image_rules(const Resize& s) {
  static constexpr ResizeRule kRules[] = {ResizeRule::letterbox, ResizeRule::squash,
                                          ResizeRule::crop, ResizeRule::letterbox_float,
                                          ResizeRule::squash_float};
  ImageRules rules{.resize = kRules[static_cast<std::size_t>(s.fit)]};
  if (s.fit == Resize::Fit::squash || s.fit == Resize::Fit::squash_float) {
    rules.pixels = PixelRule::standardised;
    for (int c = 0; c < 3; ++c) rules.mean[c] = 0.4 + 0.05 * c, rules.std[c] = 0.2 + 0.03 * c;
  }
  Picture picture{.slot = "picture", .height = s.Y, .width = s.X, .cameras = {}};
  for (int k = 0; k < s.K; ++k) {
    const int left = s.X * k / s.K, right = s.X * (k + 1) / s.K;
    Camera camera{
        .keys = {"camera" + std::to_string(k)}, .left = left, .height = s.Y, .width = right - left};
    if (s.turned == Resize::Turned::half) camera.turn = Turn::half;
    picture.cameras.push_back(std::move(camera));
  }
  rules.pictures.push_back(std::move(picture));
  return rules;
}

std::vector<std::uint8_t> frame_bytes(const Resize& s, int v, int k) {
  const std::uint64_t hash = name_hash(s.name) + static_cast<std::uint64_t>(16 * v + k);
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(s.height) *
                                  static_cast<std::size_t>(s.width) * 3);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto x = static_cast<std::int64_t>(i);
    const float slope = static_cast<float>(i) / static_cast<float>(bytes.size());
    bytes[i] = static_cast<std::uint8_t>(128 + 80 * unit(hash, x) + 40 * slope);
  }
  return bytes;
}

void record(CaseBuilder& b, const Resize& s) {
  const ImageRules rules = image_rules(s);
  const std::int64_t pixels = std::int64_t{s.height} * s.width + 5;  // the place is larger
  const std::int64_t numbers = frame_table::size(s.Y, s.X);
  const std::int64_t weights = frame_table::weights(pixels, s.Y, s.X);
  // For each frame of each picture, what `get` takes of it, in places of `size`.
  const auto all = [&](std::int64_t size, auto get) {
    std::vector<float> values(static_cast<std::size_t>(s.V * s.K * size));
    for (int i = 0; i < s.V * s.K; ++i) {
      FrameMaker maker(rules, rules.pictures[0], static_cast<std::size_t>(i % s.K), pixels);
      const std::vector<std::uint8_t> bytes = frame_bytes(s, i / s.K, i % s.K);
      const auto& part =
          get(maker.of({bytes.data(), s.height, s.width, std::ptrdiff_t{s.width} * 3}, s.name));
      std::copy(part.begin(), part.end(), values.begin() + i * size);
    }
    return values;
  };
  const auto bytes_of = [&](const CameraFrame& f) {
    return std::span(f.data, static_cast<std::size_t>(f.height * f.width * 3));
  };
  const Value frames =
      b.given(DType::u8, {s.V, s.K, 3 * pixels}, [&] { return all(3 * pixels, bytes_of); });
  const Value tables = b.given(DType::i32, {s.V, s.K, numbers}, [&] {
    return all(numbers, [](const CameraFrame& f) { return f.table; });
  });
  const Value floats = b.given(DType::f32, {s.V, s.K, weights}, [&] {
    return all(weights, [](const CameraFrame& f) { return f.weights; });
  });
  b.trace().add(ops::Resize{frames, tables, floats, b.output({s.V, s.Y, s.X, 3})});
}

}  // namespace tendon::support
