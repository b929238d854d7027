#include "sim/chunk_player.h"

#include <algorithm>

namespace tendon::sim {

void ChunkPlayer::submit(const Chunk& chunk, int observed, int arrives) {
  entries_.push_back({chunk.actions, chunk.horizon, chunk.width, observed, arrives});
}

const double* ChunkPlayer::at(int tick) {
  const auto newest = std::find_if(entries_.rbegin(), entries_.rend(),
                                   [&](const Entry& entry) { return entry.arrives <= tick; });
  if (newest == entries_.rend()) return hold_.data();
  entries_.erase(entries_.begin(), newest.base() - 1);
  const Entry& entry = entries_.front();
  const int row = std::min(tick - entry.observed, entry.horizon - 1);
  return entry.actions.data() + static_cast<std::size_t>(row) * entry.width;
}

}  // namespace tendon::sim
