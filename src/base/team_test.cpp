#include "base/team.h"

#include <gtest/gtest.h>

#include <chrono>
#include <ctime>
#include <numeric>

namespace tendon {
namespace {

using Counts = std::vector<int>;

TEST(TeamTest, EveryPartOfEveryStageIsDoneOnce) {
  for (int count : {1, 2, 3, 7}) {
    Team team(count);
    if (count != 3) team.start();
    const auto parts = static_cast<std::size_t>(count);
    Counts done(parts * 3);
    for (int i = 0; i < 300; ++i) {
      if (i % 3 == 0) team.rouse();
      if (i == 100) team.start();  // until then the caller did all, or there is nothing to start
      team.run(3, [&](int stage, int part) {
        ++done[static_cast<std::size_t>(stage) * parts + static_cast<std::size_t>(part)];
      });
    }
    EXPECT_EQ(done, Counts(parts * 3, 300));
  }
}

// Each stage adds what all parts of the one before wrote: any that is late or lost shows.
TEST(TeamTest, AStageSeesAllThatTheOneBeforeWrote) {
  constexpr int kCount = 4, kRounds = 2000;
  Team team(kCount);
  team.start();
  std::vector<std::int64_t> now(kCount, 1), next(kCount);
  team.run(2 * kRounds, [&](int stage, int part) {
    const auto i = static_cast<std::size_t>(part);
    if (stage % 2 == 0) {
      next[i] = std::accumulate(now.begin(), now.end(), std::int64_t{0}) % 1000003 + part;
    } else {
      now[i] = next[i];
    }
  });
  std::vector<std::int64_t> want(kCount, 1);
  for (int r = 0; r < kRounds; ++r) {
    const std::int64_t sum = std::accumulate(want.begin(), want.end(), std::int64_t{0}) % 1000003;
    for (int i = 0; i < kCount; ++i) want[static_cast<std::size_t>(i)] = sum + i;
  }
  EXPECT_EQ(now, want);
}

TEST(TeamTest, TeamsOfManyCallersRunBesideEachOther) {
  constexpr int kTeams = 4, kRuns = 300;
  Counts sums(kTeams);
  std::vector<std::jthread> callers;
  for (int& sum : sums) {
    callers.emplace_back([&sum] {
      Team team(3);
      team.start();
      std::atomic<int> mine{0};
      for (int i = 0; i < kRuns; ++i) {
        team.run(2, [&](int, int part) { mine += part; });
      }
      sum = mine;
    });
  }
  callers.clear();
  EXPECT_EQ(sums, Counts(kTeams, kRuns * 6));
}

double processor_seconds() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

TEST(TeamTest, ThreadsThatWaitSleep) {
  Team team(4);
  team.start();
  team.run(1, [](int, int) {});
  const double before = processor_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // between runs,
  team.run(1, [](int, int part) {                               // and inside of one
    if (part == 0) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  });
  EXPECT_LT(processor_seconds() - before, 0.05);
}

// One thread stays away, in the middle of a part: the others do all that was not begun.
TEST(TeamTest, AThreadThatIsAwayHoldsUpOnlyItsPart) {
  Team team(3);
  team.start();
  std::atomic<bool> first{true};
  std::atomic<int> others{0};
  team.run(1, [&](int, int) {
    if (!first.exchange(false)) {
      ++others;
      return;
    }
    while (others < 2) std::this_thread::yield();
  });
  EXPECT_EQ(others, 2);
}

}  // namespace
}  // namespace tendon
