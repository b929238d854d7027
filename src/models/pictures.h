// The pictures of a call: floats that the host made, or frames that the device makes them of.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "models/model.h"
#include "nn/recorder.h"

namespace tendon {

// Whether a sample has the camera of a slot, and how many it has.
bool has_camera(const ModelSample& sample, std::size_t slot) noexcept;
int present_cameras(const ModelSample& sample) noexcept;
std::size_t camera_slots(const ModelSample& sample) noexcept;  // that it speaks of

class Pictures {
 public:
  // For `count` pictures in all samples of a call together.
  Pictures(const Model::Dimensions& dimensions, const ModelOptions& options, int count);

  void add_buffers(Program& program);
  // f32 [V, Y, X, 3] for the first V pictures that are there; where the device resizes, `r` records
  // that it does.
  Value record(const nn::Recorder& r, int count) const;

  // Whether samples give what the model was recorded for.
  Status check(const ModelInput& input) const noexcept;
  // Writes the pictures that are there one after the other; how many there were.
  std::size_t write(const ModelInput& input, StageRunner& runner) noexcept;

 private:
  std::size_t table_size() const noexcept;    // numbers of a frame's table
  std::size_t weight_count() const noexcept;  // and most weights
  void write_frames(std::span<const CameraFrame> frames, std::size_t at,
                    StageRunner& runner) noexcept;

  std::int64_t height_, width_, pixels_, count_, each_;
  BufferRef images_;  // f32 [V, Y, X, 3]
  // Where the device resizes: u8 [V, K, F] and the tables that ops::Resize reads, i32 and f32.
  BufferRef frames_, tables_, weights_;
  // Of each place, the table that lies there: whose it is and its version; null: that of no frame.
  std::vector<std::pair<const void*, std::uint64_t>> written_;
};

}  // namespace tendon
