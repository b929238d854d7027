// The closed loop at 20 Hz of simulated time: look, infer, play the chunk, until the deed is done.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/interval.h"
#include "sim/judge.h"
#include "sim/pilot.h"
#include "sim/prompt.h"
#include "sim/recording.h"

namespace tendon::sim {

struct EpisodeOutcome {
  std::string prompt;
  int target = 0;  // the cube the episode was drawn for
  int named = 0;   // the cube the prompt names; -1: no such cube on the table
  Verb verb = Verb::pick;
  int base = -1;  // stack: where the prompt wants it
  Deed done;      // what lasted, see look_for(); nothing in time: {}
  int ticks = 0;  // until then, or all
  bool success() const { return named >= 0 && done == Deed{named, base}; }
};

struct RolloutOptions : PilotOptions {
  Task task = Task::pick_block;
  int episodes = 100;
  std::uint64_t seed = 0;  // of scenes and noise
  double table_speed = 0;  // m/s
  int most_ticks = 0;      // an episode's end; 0: 140, of the task `blocks` 200
  // As instruct() reads them, for the episodes in turn, which get their verb. Empty: wordings().
  std::vector<std::string> prompts;
  int recorded = 1;                // episodes that `recording` keeps
  Recording* recording = nullptr;  // not owned; may be null
  std::function<void(int done, const EpisodeOutcome&)> progress;
};

struct RolloutResult {
  std::vector<EpisodeOutcome> episodes;
  std::vector<double> latencies;  // seconds of each inference, in order
  std::vector<double> drawings;   // seconds of each pair of pictures
  std::uint64_t fingerprint = 0;  // of every state the arm was in, bit for bit
  double seconds = 0;             // of all, pictures and physics included

  int successes() const;  // the named cube was lifted
  int others() const;     // a cube that was not named
  int originals() const;  // the episode's target, named or not
  Interval rate() const { return confidence(successes(), static_cast<int>(episodes.size())); }
  double mean_ticks() const;              // of the episodes in which something was done; 0: none
  double latency(double quantile) const;  // seconds; 0 without an inference
  double drawing(double quantile) const;
};

// Throws Error where an option or what `infer` returns does not fit this robot.
RolloutResult rollout(const Infer& infer, const RolloutOptions& options);

// The same with the data's expert in the policy's place, which knows where everything is and
// decides anew every tick: what the scenes allow.
RolloutResult rollout_by_expert(const RolloutOptions& options);

}  // namespace tendon::sim
