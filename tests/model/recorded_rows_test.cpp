// Which recorded rows a value of the engine is held against, where only some rows are recorded.
#include <gtest/gtest.h>

#include "engine/golden_stages.h"

namespace tendon {
namespace {

// Row r of a stage is {10 r, 10 r + 1}.
std::vector<float> rows(std::initializer_list<int> numbers) {
  std::vector<float> all;
  for (int r : numbers) all.insert(all.end(), {10.0f * r, 10.0f * r + 1});
  return all;
}

StagePiece piece(Trace::TapRows which, std::initializer_list<int> numbers, std::int64_t head) {
  return {.rows = which,
          .shape = {1, static_cast<std::int64_t>(numbers.size()), 2},
          .values = rows(numbers),
          .head = head};
}

const RecordedInput kRecorded{{3, 2}, rows({0, 1, 4})};
const std::optional<std::vector<int>> kRows{{0, 1, 4}};

TEST(RecordedRows, FirstAndLastOfAStep) {
  const StagePiece pieces[] = {piece(Trace::TapRows::first, {0}, 0),
                               piece(Trace::TapRows::last, {1, 2, 3, 4}, 1)};
  const Distance d = compare(pieces, kRecorded, kRows, {}, {});
  EXPECT_EQ(d.worst, 0);
  EXPECT_EQ(d.compared, 6u);
}

// The state's row is made once, so later steps show the others alone.
TEST(RecordedRows, LastOfALaterStep) {
  const StagePiece last[] = {piece(Trace::TapRows::last, {1, 2, 3, 4}, 1)};
  const Distance d = compare(last, kRecorded, kRows, {}, {});
  EXPECT_EQ(d.worst, 0);
  EXPECT_EQ(d.compared, 4u);
  const StagePiece shifted[] = {piece(Trace::TapRows::last, {1, 2, 3, 4}, 0)};
  EXPECT_GT(compare(shifted, kRecorded, kRows, {}, {}).worst, 0);
}

}  // namespace
}  // namespace tendon
