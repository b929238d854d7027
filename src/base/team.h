// Threads that wait together for work, for loops of microseconds on the warm path.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace tendon {

// `count` threads of which the caller of run() is the first. Between calls, and where one waits for
// another, a thread spins for some microseconds and then sleeps: teams that share a machine with
// other work, or with each other, do not take its processors.
class Team {
 public:
  // What a thread knows of itself inside run().
  class Member {
   public:
    Member(Team& team, int index) : team_(&team), index_(index) {}
    int index() const { return index_; }
    int count() const { return team_->count_; }
    // Returns when every thread of the team has called it as often; what they wrote is seen then.
    void meet() const noexcept { team_->meet(); }

   private:
    Team* team_;
    int index_;
  };

  explicit Team(int count);  // at least 1; throws std::system_error where no thread can be had
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;
  ~Team();

  int count() const { return count_; }

  // f(member) on every thread; returns when all have. One caller at a time, not from inside f,
  // which must not throw. Allocates nothing.
  template <class F>
  void run(const F& f) noexcept {
    job_ = [](const void* body, const Member& m) { (*static_cast<const F*>(body))(m); };
    body_ = &f;
    run_job();
  }

  // Wakes sleeping threads ahead of a run() that is about to come.
  void rouse() noexcept;

 private:
  // A number that only grows, and threads waiting for it to do so.
  class Counter {
   public:
    std::uint32_t value() const { return value_.load(std::memory_order_relaxed); }
    void advance() noexcept;
    std::uint32_t wait(std::uint32_t seen) noexcept;  // until it is another: that one

   private:
    std::atomic<std::uint32_t> value_{0};
  };

  void run_job() noexcept;
  void meet() noexcept;
  void work(int index) noexcept;

  void end() noexcept;

  const int count_;
  void (*job_)(const void*, const Member&) = nullptr;
  const void* body_ = nullptr;
  // Apart from each other: each is written by one side while the other looks at its own.
  alignas(64) Counter awake_;
  std::atomic<std::uint32_t> jobs_{0};
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) Counter met_;
  std::atomic<bool> stop_{false};
  std::vector<std::jthread> threads_;
};

}  // namespace tendon
