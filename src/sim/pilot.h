// A policy at the arm: looks, infers, plays its chunks.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sim/cameras.h"
#include "sim/chunk_player.h"
#include "sim/random.h"
#include "tendon/tendon.h"

namespace tendon::sim {

// A policy's inference, as tendon::Policy::infer does it.
using Infer = std::function<Status(const Observation&, const InferOptions&, Chunk&)>;

struct PilotOptions {
  int execute = 0;  // ticks between inferences; 0: 8, in rollouts of the task `blocks` 4
  int steps = 0;    // denoising steps; 0: the contract's
  int delay = 0;    // ticks from an observation to its chunk's arrival; the old one runs on
  std::array<bool, kCameras> blanked = {};  // pictures the policy gets in black
  int picture_size = 112;                   // pixels a side, as the policy was trained
};

// One thread at a time. `infer` outlives it.
class Pilot {
 public:
  Pilot(const Infer& infer, const PilotOptions& options);

  void begin(const Episode& episode, std::string prompt, const Random& noise);
  // What to do in `tick`, which counts from 0. Throws Error where the policy does not fit this
  // robot or refuses.
  Command command(World& world, int tick);

  std::vector<double> latencies, drawings;  // seconds of each inference, of each pair of pictures

 private:
  void look_and_infer(World& world);
  void check_chunk() const;

  const Infer& infer_;
  PilotOptions options_;
  Cameras cameras_;
  Observation seen_;
  Chunk chunk_;
  std::optional<ChunkPlayer> player_;
  std::optional<Random> noise_;
};

}  // namespace tendon::sim
