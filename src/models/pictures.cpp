#include "models/pictures.h"

#include <algorithm>

#include "base/frame_table.h"

namespace tendon {

bool has_camera(const ModelSample& s, std::size_t slot) noexcept {
  if (slot < s.frames.size()) return !s.frames[slot].empty();
  return slot < s.cameras.size() && s.cameras[slot] != nullptr;
}

std::size_t camera_slots(const ModelSample& s) noexcept {
  return std::max(s.frames.size(), s.cameras.size());
}

int present_cameras(const ModelSample& s) noexcept {
  int count = 0;
  for (std::size_t slot = 0; slot < camera_slots(s); ++slot) count += has_camera(s, slot);
  return count;
}

Pictures::Pictures(const Model::Dimensions& d, const ModelOptions& options, int count)
    : height_(d.image_height),
      width_(d.image_width),
      pixels_(options.frame_pixels),
      count_(count),
      each_(options.picture_frames),
      written_(pixels_ > 0 ? static_cast<std::size_t>(count_ * each_) : 0) {}

std::size_t Pictures::table_size() const noexcept {
  return static_cast<std::size_t>(
      frame_table::size(static_cast<int>(height_), static_cast<int>(width_)));
}

std::size_t Pictures::weight_count() const noexcept {
  return static_cast<std::size_t>(
      frame_table::weights(pixels_, static_cast<int>(height_), static_cast<int>(width_)));
}

void Pictures::add_buffers(Program& program) {
  images_ = program.add({"images", DType::f32, {count_, height_, width_, 3}});
  if (pixels_ == 0) return;
  const auto numbers = static_cast<std::int64_t>(table_size());
  const auto weights = static_cast<std::int64_t>(weight_count());
  frames_ = program.add({"frames", DType::u8, {count_, each_, 3 * pixels_}});
  tables_ = program.add({"frame_tables", DType::i32, {count_, each_, numbers}});
  weights_ = program.add({"frame_weights", DType::f32, {count_, each_, weights}});
}

Value Pictures::record(const nn::Recorder& r, int count) const {
  Trace& t = r.trace();
  const Value images = t.buffer(images_, {count, height_, width_, 3});
  if (pixels_ == 0) return images;
  const auto some = [&](BufferRef ref) {
    Shape shape = t.program().buffer(ref).shape;
    shape[0] = count;
    return t.buffer(ref, shape);
  };
  t.add(ops::Resize{some(frames_), some(tables_), some(weights_), images}, r.name("resize"));
  return images;
}

Status Pictures::check(const ModelInput& input) const noexcept {
  for (const ModelSample& s : input.samples) {
    if (pixels_ == 0 && !s.frames.empty()) {
      return Status("frames came, but the model was recorded for pictures: state frame_pixels");
    }
    if (pixels_ > 0 && !s.cameras.empty()) {
      return Status("pictures came, but the model was recorded for frames: leave frame_pixels 0");
    }
    for (const std::span<const CameraFrame>& frames : s.frames) {
      if (frames.size() > static_cast<std::size_t>(each_)) {
        return Status("a picture of more frames than the model was recorded for");
      }
      for (const CameraFrame& f : frames) {
        if (std::int64_t{f.height} * f.width > pixels_) {
          return Status("a frame has more pixels than frame_pixels");
        }
        if (f.table.size() != table_size() || f.weights.size() > weight_count()) {
          return Status("a frame's table is that of another picture");
        }
      }
    }
  }
  return {};
}

std::size_t Pictures::write(const ModelInput& input, StageRunner& runner) noexcept {
  const auto numbers = static_cast<std::size_t>(height_ * width_ * 3);
  std::size_t at = 0;
  for (const ModelSample& s : input.samples) {
    for (std::size_t slot = 0; slot < camera_slots(s); ++slot) {
      if (!has_camera(s, slot)) continue;
      if (pixels_ == 0) {
        runner.write<float>(images_, std::span<const float>(s.cameras[slot], numbers),
                            at * numbers);
      } else {
        write_frames(s.frames[slot], at, runner);
      }
      ++at;
    }
  }
  return at;
}

void Pictures::write_frames(std::span<const CameraFrame> frames, std::size_t at,
                            StageRunner& runner) noexcept {
  static constexpr std::int32_t kNoFrame[frame_table::kFields] = {};
  for (std::size_t k = 0; k < static_cast<std::size_t>(each_); ++k) {
    const std::size_t place = at * static_cast<std::size_t>(each_) + k;
    auto& written = written_[place];
    if (k >= frames.size()) {
      if (written.first != nullptr) {
        runner.write<std::int32_t>(tables_, kNoFrame, place * table_size());
      }
      written = {};
      continue;
    }
    const CameraFrame& f = frames[k];
    const std::pair<const void*, std::uint64_t> mine(f.table.data(), f.version);
    if (written != mine) {
      runner.write<std::int32_t>(tables_, f.table, place * table_size());
      runner.write<float>(weights_, f.weights, place * weight_count());
      written = runner.status().ok() ? mine : std::pair<const void*, std::uint64_t>();
    }
    runner.write<std::uint8_t>(
        frames_,
        {f.data, static_cast<std::size_t>(f.height) * static_cast<std::size_t>(f.width) * 3},
        place * static_cast<std::size_t>(3 * pixels_));
  }
}

}  // namespace tendon
