#include "base/team.h"

#include <gtest/gtest.h>

#include <chrono>
#include <ctime>
#include <numeric>

namespace tendon {
namespace {

TEST(TeamTest, EveryMemberWorksOnceInEachRun) {
  for (int count : {1, 2, 3, 7}) {
    Team team(count);
    std::vector<int> runs(static_cast<std::size_t>(count));
    for (int i = 0; i < 500; ++i) {
      if (i % 3 == 0) team.rouse();
      team.run([&](const Team::Member& m) {
        EXPECT_EQ(m.count(), count);
        ++runs[static_cast<std::size_t>(m.index())];
      });
    }
    EXPECT_EQ(runs, std::vector<int>(static_cast<std::size_t>(count), 500));
  }
}

// Each round adds what the neighbours wrote in the round before: any that is late or lost shows.
TEST(TeamTest, WhatWasWrittenBeforeAMeetingIsSeenAfterIt) {
  constexpr int kCount = 4, kRounds = 2000;
  Team team(kCount);
  std::vector<std::int64_t> now(kCount, 1), next(kCount);
  team.run([&](const Team::Member& m) {
    const auto i = static_cast<std::size_t>(m.index());
    for (int r = 0; r < kRounds; ++r) {
      next[i] = std::accumulate(now.begin(), now.end(), std::int64_t{0}) % 1000003 + m.index();
      m.meet();
      now[i] = next[i];
      m.meet();
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
  std::vector<int> sums(kTeams);
  std::vector<std::jthread> callers;
  for (int& sum : sums) {
    callers.emplace_back([&sum] {
      Team team(3);
      std::atomic<int> mine{0};
      for (int i = 0; i < kRuns; ++i) {
        team.run([&](const Team::Member& m) { mine += m.index(); });
      }
      sum = mine;
    });
  }
  callers.clear();
  EXPECT_EQ(sums, std::vector<int>(kTeams, kRuns * 3));
}

double processor_seconds() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

TEST(TeamTest, ThreadsThatWaitSleep) {
  Team team(4);
  team.run([](const Team::Member&) {});
  const double before = processor_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // between runs,
  team.run([](const Team::Member& m) {                          // and inside of one
    if (m.index() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(100));
    m.meet();
  });
  EXPECT_LT(processor_seconds() - before, 0.05);
}

}  // namespace
}  // namespace tendon
