// What every model family is to the rest of tendon: a recorder of stages and a host that runs them.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/frame_table.h"
#include "ops/backend.h"
#include "ops/trace.h"
#include "tendon/pin_rule.h"

namespace tendon {

// Exact savings; each may be switched off to show that it changes nothing.
struct Savings {
  bool drop_masked = true;      // leave absent cameras and padding tokens out
  bool trim_last_layer = true;  // stop the last prefix layer after its keys and values
  bool tabulate_time = true;    // everything that depends on the time step only, once per schedule
};

// How a model is recorded; the same for all families.
struct ModelOptions {
  DType working = DType::bf16;     // f32 or bf16: dtype of activations and of matrix weights
  bool bf16_schedule = false;      // times and steps rounded to bf16 as the original deploys it
  bool divided_schedule = false;   // times as LeRobot's ports count them, by division in fp64
  bool bf16_rope = false;          // rotary tables made from bf16-rounded frequencies
  int batch = 1;                   // samples of a call
  int max_steps = 100;             // rows of the time tables
  std::vector<int> token_buckets;  // ascending prompt capacities; the last is the model's
  std::vector<int> camera_counts;  // cameras per sample that are planned for, ascending
  // Above 0: the device makes pictures of frames of up to so many pixels, so many to a picture.
  std::int64_t frame_pixels = 0;
  int picture_frames = 1;
  Savings savings;
};

// Whether the last prefix layer stops after its keys and values. A program that records taps shows
// the whole layer, as recordings do.
inline bool trims_last_layer(const ModelOptions& options, const Program& program) {
  return options.savings.trim_last_layer && !program.record_taps;
}

// One sample in the model's terms. Pointers stay valid during Model::run.
struct ModelSample {
  // By slot, one or the other as ModelOptions::frame_pixels says: [Y, X, 3] at model size and
  // scale, null where absent; or the frames that the device makes it of, none where absent.
  std::vector<const float*> cameras;
  std::vector<std::span<const CameraFrame>> frames;
  std::span<const std::int32_t> tokens;  // valid ids only
  std::span<const float> state;          // normalised and padded to the model's width
  std::span<const float>
      context;  // precomputed text rows [T, text width], where a family takes them
};

struct ModelInput {
  std::vector<ModelSample> samples;  // as many as ModelOptions::batch
  std::span<const float> noise;      // [B, H, A]
  int steps = 10;
  double shift = 0;               // schedule shift; 0: the family's default
  std::span<const float> pinned;  // [rows, A]: the first rows of every chunk, decided already
  PinRule pin_rule = PinRule::family;
};

// Told after each run of a trace. Only in programs that record taps does the host stop between
// steps.
class StageObserver {
 public:
  virtual ~StageObserver() = default;
  virtual void after(std::string_view stage, std::size_t trace, int iteration) = 0;
};

// Runs traces for a Model, timing stages and telling an observer.
class StageRunner {
 public:
  explicit StageRunner(Executable& executable, StageObserver* observer = nullptr)
      : executable_(executable), observer_(observer) {}

  Executable& executable() { return executable_; }
  // Starts a call: forgets times and the first error.
  void begin() noexcept;
  // Runs a trace `count` times; time is added to `stage`, a string literal.
  void run(std::string_view stage, std::size_t trace, int first = 0, int count = 1) noexcept;
  template <class T>
  void write(BufferRef buffer, std::span<const T> data, std::size_t first = 0) noexcept {
    keep(executable_.write(buffer, std::as_bytes(data), first * sizeof(T)));
  }
  template <class T>
  void read(BufferRef buffer, std::span<T> data, std::size_t first = 0) noexcept {
    keep(executable_.read(buffer, std::as_writable_bytes(data), first * sizeof(T)));
  }
  void keep(const Status& status) noexcept {
    if (status_.ok() && !status.ok()) status_ = status;
  }
  const Status& status() const noexcept { return status_; }
  // Stage names in order of first use, with seconds.
  std::span<const std::pair<std::string_view, double>> times() const noexcept {
    return {times_.data(), used_};
  }

 private:
  Executable& executable_;
  StageObserver* observer_;
  Status status_;
  std::array<std::pair<std::string_view, double>, 12> times_{};
  std::size_t used_ = 0;
};

// A model of one checkpoint. Lives as long as its Executable; one thread at a time.
class Model {
 public:
  virtual ~Model() = default;

  // Adds weights, buffers and every stage's traces for every bucket to `program`. Once.
  virtual void record(Program& program) = 0;

  // Makes everything that depends on the schedule alone, as the first run with it would.
  virtual Status prepare(int steps, StageRunner& runner) noexcept = 0;

  // Runs all stages. chunk: [B, H, A] in model space. No allocation, no exception: an input over a
  // capacity is a Status.
  virtual Status run(const ModelInput& input, StageRunner& runner,
                     std::span<float> chunk) noexcept = 0;

  struct Dimensions {
    int image_height = 0, image_width = 0;  // of one camera
    int camera_slots = 0, token_capacity = 0, horizon = 0, action = 0, state = 0;
    int context_width = 0;  // of a text row, where ModelSample::context is wanted; 0: tokens are
  };
  virtual Dimensions dimensions() const = 0;
  virtual const ModelOptions& options() const = 0;

  // Traces a call with these many cameras and tokens per sample uses, in order, for profiles.
  struct StageTrace {
    std::string_view stage;
    std::size_t trace = 0;
    int count = 1;
  };
  virtual std::vector<StageTrace> stages(int cameras, int tokens, int steps) const = 0;
};

// Makes the text rows (ModelSample::context) of families whose text encoder is too large to stay
// beside the policy: its layers are compiled, run and dropped one after the other. Outlived by the
// checkpoint.
class TextEncoder {
 public:
  virtual ~TextEncoder() = default;
  virtual int width() const = 0;

  // Told after each run of a trace; the taps of these programs are recorded.
  using Observer = std::function<void(Executable& executable, std::size_t trace)>;
  // Rows [T, width] for T valid ids, the end token included. Seconds at full size. Throws Error.
  virtual std::vector<float> encode(std::span<const std::int32_t> ids, Backend& backend,
                                    const Observer& observer = {}) const = 0;
};

}  // namespace tendon
