// What an engine showed of its stages in one call, and how far it lies from a recording.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/family.h"

namespace tendon {

// Values of one tap in one run.
struct StagePiece {
  Trace::TapRows rows = Trace::TapRows::plain;
  Shape shape;
  std::vector<float> values;
  int iteration = 0;
  int sample = -1;        // of a camera; -1: the piece holds all samples
  bool stacked = false;   // one of several that the recording stacks by iteration
  std::int64_t head = 0;  // of the last rows: how many come before them
};
using StagePieces = std::map<std::string, std::vector<StagePiece>, std::less<>>;

// Collects every tap of every run.
class StageCollector final : public StageObserver {
 public:
  StageCollector(Executable& executable, const RecordedCall& call)
      : executable_(executable), call_(call) {}
  void after(std::string_view stage, std::size_t trace, int iteration) override;
  StagePieces& pieces() { return pieces_; }

 private:
  void keep(const Trace::Tap& tap, StagePiece piece);
  void split(const Trace::Tap& tap, const StagePiece& all, std::string_view marker);

  Executable& executable_;
  const RecordedCall& call_;
  StagePieces pieces_;
  std::map<std::string, std::int64_t, std::less<>> heads_;  // first rows, by the tap's name
};

// Largest absolute difference relative to a bound, and the two norms of a relative error.
struct Distance {
  double worst = 0, worst_bound = 0, worst_ratio = 0;
  double difference = 0, reference = 0;  // sums of squares
  std::size_t compared = 0;
  double relative() const;
};

struct Bound {
  double abs = 0, rel = 0;
};

// The rows that both have: `rows` numbers the stored rows of sample 0 where only some are stored.
// Throws Error where shapes do not fit.
Distance compare(std::span<const StagePiece> pieces, const RecordedInput& recorded,
                 const std::optional<std::vector<int>>& rows, const RecordedCall& call,
                 const Bound& bound);

}  // namespace tendon
