#include "preprocess/frames.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/text.h"
#include "preprocess/compose.h"
#include "preprocess/pixels.h"
#include "preprocess/resize_filter.h"

namespace tendon {

namespace table = frame_table;

// `count` outputs from number `skip` on of `inputs` pixels made `outputs`.
struct FrameMaker::Axis {
  int inputs, outputs, skip, count;
  int first_at, weights_at;  // in the table
};

FrameMaker::FrameMaker(const ImageRules& rules, const Picture& picture, std::size_t camera,
                       std::int64_t pixels)
    : rules_(&rules), picture_(&picture), camera_(&picture.cameras.at(camera)), pixels_(pixels) {
  require(pixels > 0, "frame_pixels: at least 1 is wanted, {} came", pixels);
  table_.resize(static_cast<std::size_t>(table::size(picture.height, picture.width)));
  weights_.resize(static_cast<std::size_t>(table::weights(pixels, picture.height, picture.width)));
  scratch_.resize(2 * table::kLongestSide + 4);
  const PixelTable values = pixel_table(rules);
  for (std::size_t c = 0; c < 3; ++c) {
    std::copy(values[c].begin(), values[c].end(), weights_.begin() + table::kValues + 256 * c);
  }
  weights_[table::kBar] = bar_value(rules.resize);
}

CameraFrame FrameMaker::of(const ImageView& frame, std::string_view key) {
  const std::int64_t pixels = std::int64_t{frame.height} * frame.width;
  if (pixels > pixels_ || std::max(frame.height, frame.width) > table::kLongestSide) {
    fail(
        "camera {}: a frame of {} x {} came; this policy was loaded for at most {} pixels: raise "
        "frame_pixels, or leave it 0 and the host resizes",
        printable(key), frame.height, frame.width, pixels_);
  }
  if (frame.height != height_ || frame.width != width_) make_table(frame.height, frame.width);
  const std::uint8_t* data = frame.data;
  const std::ptrdiff_t row = std::ptrdiff_t{frame.width} * 3;
  if (frame.stride != row) {
    dense_.resize(static_cast<std::size_t>(row * frame.height));
    for (int y = 0; y < frame.height; ++y) {
      std::memcpy(dense_.data() + y * row, frame.row(y), static_cast<std::size_t>(row));
    }
    data = dense_.data();
  }
  return {data, height_, width_, table_, std::span<const float>(weights_).first(taps_), version_};
}

void FrameMaker::make_table(int height, int width) {
  const Camera& c = *camera_;
  Box whole{c.height, c.width, 0, 0}, inner = whole;  // what the frame becomes; where it is put
  if (is_boxed(rules_->resize)) {
    const Letterbox box = letterbox(height, width, c.height, c.width);
    inner = whole = {box.height, box.width, box.top, box.left};
    whole.top = whole.left = 0;
  } else if (rules_->resize == ResizeRule::crop) {
    const CoverCrop cut = cover_crop(height, width, c.height, c.width);
    whole = {cut.height, cut.width, cut.top, cut.left};
  }
  const std::int32_t fields[table::kFields] = {
      height,   width,   c.turn == Turn::half, is_float(rules_->resize), c.top,        c.left,
      c.height, c.width, c.top + inner.top,    c.left + inner.left,      inner.height, inner.width};
  std::copy(std::begin(fields), std::end(fields), table_.begin());
  taps_ = table::kTaps;
  const int h = picture_->height, w = picture_->width;
  add_axis(
      {height, whole.height, whole.top, inner.height, table::first_row(), table::row_weights(h)});
  add_axis({width, whole.width, whole.left, inner.width, table::first_column(h),
            table::column_weights(h, w)});
  height_ = height, width_ = width;
  ++version_;
}

void FrameMaker::add_axis(const Axis& axis) {
  const bool smooth = is_float(rules_->resize);
  const bool lerp = smooth && is_boxed(rules_->resize);
  std::int32_t* first = table_.data() + axis.first_at;
  std::int32_t* begin = table_.data() + axis.weights_at;
  for (int i = 0; i < axis.count; ++i) {
    AxisTaps taps;
    if (lerp) {
      const Lerp l = lerp_at(axis.skip + i, axis.inputs, axis.outputs);
      taps = {l.i0, l.i1 - l.i0 + 1};
      scratch_[0] = taps.count > 1 ? 1 - l.f : 1, scratch_[1] = l.f;
    } else {
      taps = triangle_taps(axis.skip + i, axis.inputs, axis.outputs, scratch_.data());
    }
    first[i] = taps.first;
    begin[i] = static_cast<std::int32_t>(taps_);
    for (int k = 0; k < taps.count; ++k) {
      const double w = scratch_[static_cast<std::size_t>(k)];
      weights_[taps_++] = smooth ? static_cast<float>(w) : static_cast<float>(fixed_weight(w));
    }
  }
  begin[axis.count] = static_cast<std::int32_t>(taps_);
}

}  // namespace tendon
