#include "base/median.h"

#include <gtest/gtest.h>

#include <vector>

namespace tendon {
namespace {

TEST(Median, IsOneOfTheValues) {
  std::vector<double> one{3}, odd{5, 1, 9}, even{4, 8, 2, 6}, alike{7, 7, 1, 7};
  EXPECT_EQ(median(one), 3);
  EXPECT_EQ(median(odd), 5);
  EXPECT_EQ(median(even), 4);
  EXPECT_EQ(median(alike), 7);
}

}  // namespace
}  // namespace tendon
