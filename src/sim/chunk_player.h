// Plays chunks of actions on a fixed clock; a chunk that is late lets the one before run on.
#pragma once

#include <vector>

#include "tendon/tendon.h"

namespace tendon::sim {

class ChunkPlayer {
 public:
  // Until the first chunk arrives, `hold` is the action. [width]
  explicit ChunkPlayer(std::vector<double> hold) : hold_(std::move(hold)) {}

  // A chunk computed from what was seen at tick `observed`, in the robot's hands from `arrives` on.
  // Its row r is meant for tick observed + r.
  void submit(const Chunk& chunk, int observed, int arrives);

  // The action of `tick`, from the newest chunk that has arrived; past a chunk's end its last row.
  // Valid until the next submit().
  const double* at(int tick);

 private:
  struct Entry {
    std::vector<double> actions;
    int horizon, width, observed, arrives;
  };
  std::vector<Entry> entries_;  // oldest first
  std::vector<double> hold_;
};

}  // namespace tendon::sim
