// tendon's public API: load a policy checkpoint, give it observations, get chunks of actions.
//
//   tendon::Policy policy = tendon::load("/models/pi05_libero", {});
//   tendon::Observation seen;                 // cameras, state, prompt
//   tendon::Chunk chunk = policy.infer(seen); // chunk.actions: horizon x width doubles
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tendon/error.h"
#include "tendon/pin_rule.h"

namespace tendon {

// A picture the caller owns: 8-bit RGB, row after row, `row_bytes` apart (0: 3 * width).
struct Image {
  const std::uint8_t* data = nullptr;
  int height = 0, width = 0;
  std::size_t row_bytes = 0;
};

// What the robot sees and is told. The policy reads it during infer() only.
struct Observation {
  struct Camera {
    std::string
        name;     // the contract's observation key ("observation/image") or slot ("base_0_rgb")
    Image image;  // any size; resized as the contract says
  };
  struct Vector {
    std::string name;  // the contract's observation key; "state" where there is a single vector
    std::vector<double> values;  // robot units, as the checkpoint's training saw them
  };
  std::vector<Camera> cameras;
  std::vector<Vector> state;
  std::string prompt;  // UTF-8; empty: the default prompt of LoadOptions
};

struct LoadOptions {
  std::string device = "cpu";  // "cpu", "cuda", "cuda:1", "reference"
  std::string dtype;           // "f32", "bf16"; empty: bf16 where the checkpoint is, else f32
  std::string
      contract;  // name of a built-in contract or path of a JSON; empty: from the checkpoint
  std::string tokenizer;       // path; empty: in the checkpoint's folder
  std::string statistics;      // path; empty: in the checkpoint's folder
  std::string default_prompt;  // used where an observation has none
  std::string context;         // file of text rows (.npy, .safetensors) used for every prompt
  std::string text_cache;  // folder where text rows of encoded prompts are kept; empty: not kept
  std::string schedule;    // "exact", "bf16" or "divided" time steps; empty: the contract's
  int threads = 0;         // CPU threads; 0: all
  int batch = 1;           // observations a call of infer() takes
  int max_steps = 100;     // most denoising steps a call may ask for
  // Above 0: the device itself resizes and scales camera frames of up to so many pixels, to the
  // same numbers; larger ones are refused. 0: the host does, with frames of any size.
  std::int64_t frame_pixels = 0;
  bool truncate_prompt = false;  // cut a prompt that is over capacity instead of refusing it
  // Told what is being loaded and how far it is, in [0, 1], on the loading thread.
  std::function<void(std::string_view what, double done)> progress;
};

struct InferOptions {
  // Starting noise [batch, horizon, model action width] in fp32; empty: drawn from `seed`, the same
  // on every machine. Neither: the noise that the checkpoint's own evaluation uses for every chunk,
  // where its contract names it, else seed 0.
  std::span<const float> noise;
  std::optional<std::uint64_t> seed;
  int steps = 0;     // denoising steps; 0: the contract's
  double shift = 0;  // of the time schedule, for families that have one; 0: the contract's
  // Actions already decided (real-time chunking): the first rows of the new chunk, in model space
  // as Chunk::model_actions holds them, [rows, model action width]. They come back unchanged.
  std::span<const float> pinned;
  PinRule pin_rule = PinRule::family;  // how they take part; families refuse those they do not know
};

// Actions for the next `horizon` control ticks.
struct Chunk {
  int horizon = 0, width = 0;
  std::vector<double> actions;  // [horizon, width], robot units
  int model_width = 0;
  std::vector<float> model_actions;  // [horizon, model_width], normalised, before any transform
  // Seconds of each part of the call, in order ("preprocess", "vision", "prefix", ...); the stage
  // times add up to about `seconds`.
  std::vector<std::pair<std::string_view, double>> timing;
  double seconds = 0;
};

// What was loaded; fixed for a policy's life.
struct PolicyInfo {
  // Where the colours of an array [a,b,c] stand; either: last, unless only the first extent is 3.
  enum class Channels : std::uint8_t { either, first, last };
  struct Input {
    std::string key;   // the contract's observation key
    std::string slot;  // the model's camera slot; empty for a vector
    int size = 0;      // entries of a vector; 0 for a picture
    bool required = true;
    std::vector<std::string> aliases;  // further keys that name the same
    Channels channels = Channels::either;
  };
  std::string family, contract, device, dtype, schedule;
  std::string weights_fingerprint, statistics_sha256, tokenizer_sha256;
  std::vector<Input> inputs;
  std::vector<std::vector<Input>> state_forms;  // vectors that, all of a form, may be sent instead
  std::vector<std::string> ignored;             // keys that are taken and not used
  bool needs_prompt = true;                     // false: there is a default
  int state_size = 0;
  int horizon = 0, width = 0, model_width = 0, default_steps = 0;
  int execute_rows = 0;       // rows usually executed before the next inference; 0: not stated
  double control_hz = 0;      // 0: not stated
  std::string metadata_json;  // what the contract tells clients, a JSON object
  std::size_t weight_bytes = 0, buffer_bytes = 0, arena_bytes = 0;
};

// A loaded policy. Movable; one thread at a time may call infer().
class Policy {
 public:
  Policy(Policy&&) noexcept;
  Policy& operator=(Policy&&) noexcept;
  ~Policy();

  const PolicyInfo& info() const;

  // Throws Error on a bad observation (missing camera, wrong state width, NaN, prompt over
  // capacity) and on a device fault.
  Chunk infer(const Observation& observation, const InferOptions& options = {});

  // The same without exceptions and, once each buffer of `chunk` has grown to size, without
  // allocations of ours.
  Status infer(const Observation& observation, const InferOptions& options, Chunk& chunk) noexcept;

  // As many observations as LoadOptions::batch said, each with its own cameras, prompt and state.
  Status infer(std::span<const Observation> observations, const InferOptions& options,
               std::span<Chunk> chunks) noexcept;

  class Impl;
  explicit Policy(std::unique_ptr<Impl> impl);
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

// Loads a checkpoint folder (or file) and warms every stage: no call of infer() plans, captures or
// allocates afterwards. Throws Error with one sentence that names what is wrong and the remedy.
Policy load(const std::string& path, const LoadOptions& options);

// A decoded picture that owns its pixels, dense RGB.
struct OwnedImage {
  int height = 0, width = 0;
  std::vector<std::uint8_t> pixels;  // [height, width, 3]
  Image view() const { return {pixels.data(), height, width, 0}; }
};

// Reads a PNG or JPEG file. Throws Error.
OwnedImage load_image(const std::string& path);

// The seed of request `number` of a session that was given `seed`; request 0 has `seed` itself.
std::uint64_t request_seed(std::uint64_t seed, std::uint64_t number) noexcept;

// The version of the library, "0.1.0".
std::string_view version();

}  // namespace tendon
