#include "server/queue.h"

#include <gtest/gtest.h>

namespace tendon::server {
namespace {

class Nobody : public JobOwner {
  void done(std::unique_ptr<Job>) noexcept override {}
};

class QueueTest : public testing::Test {
 protected:
  std::unique_ptr<Job> job(int owner, std::uint64_t seed) {
    auto j = std::make_unique<Job>();
    j->owner = &owners[owner];
    j->seed = seed;
    return j;
  }
  JobQueue::Answer push(JobQueue& queue, int owner, std::uint64_t seed, std::size_t running = 0) {
    held = job(owner, seed);
    return queue.push(held, running);
  }
  Nobody owners[3];
  std::unique_ptr<Job> held;
};

TEST_F(QueueTest, LatestKeepsTheNewestOfEachAndServesInTurn) {
  JobQueue queue({QueueMode::latest, 32});
  EXPECT_EQ(push(queue, 0, 1), JobQueue::Answer::queued);
  EXPECT_EQ(push(queue, 1, 2), JobQueue::Answer::queued);
  EXPECT_EQ(push(queue, 0, 3), JobQueue::Answer::replaced);
  EXPECT_EQ(held->seed, 1u);
  EXPECT_EQ(queue.pop()->seed, 3u);
  EXPECT_EQ(push(queue, 0, 4), JobQueue::Answer::queued);
  EXPECT_EQ(queue.pop()->seed, 2u);
  EXPECT_EQ(queue.pop()->seed, 4u);
  EXPECT_EQ(queue.pop(), nullptr);
}

TEST_F(QueueTest, FifoKeepsOrderUpToItsDepth) {
  JobQueue queue({QueueMode::fifo, 3});
  for (std::uint64_t i = 0; i < 3; ++i) EXPECT_EQ(push(queue, 0, i), JobQueue::Answer::queued);
  EXPECT_EQ(push(queue, 1, 9), JobQueue::Answer::full);
  EXPECT_EQ(held->seed, 9u);
  for (std::uint64_t i = 0; i < 3; ++i) EXPECT_EQ(queue.pop()->seed, i);
}

TEST_F(QueueTest, RejectLetsNothingWaitBehindAnother) {
  JobQueue queue({QueueMode::reject, 32});
  EXPECT_EQ(push(queue, 0, 1, 1), JobQueue::Answer::full);
  EXPECT_EQ(push(queue, 0, 1, 0), JobQueue::Answer::queued);
  EXPECT_EQ(push(queue, 1, 2, 0), JobQueue::Answer::full);
}

TEST_F(QueueTest, WhatWaitsIsTakenBack) {
  JobQueue queue({QueueMode::fifo, 32});
  push(queue, 0, 1);
  push(queue, 1, 2);
  push(queue, 0, 3);
  EXPECT_EQ(queue.withdraw(&owners[0]).size(), 2u);
  EXPECT_EQ(queue.size(), 1u);
  EXPECT_EQ(queue.pop()->seed, 2u);
}

}  // namespace
}  // namespace tendon::server
