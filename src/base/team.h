// Threads that wait together for work, for loops of microseconds on the warm path.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace tendon {

// `count` threads of which the caller of run() is the first. Work comes in stages, a stage in
// `count` parts; a thread takes its own part first and then any that nobody has begun, so that a
// thread which does not get a processor holds up the others only while it is in the middle of a
// part. Who waits spins for some microseconds and then sleeps.
class Team {
 public:
  explicit Team(int count);  // at least 1
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;
  ~Team();

  int count() const { return count_; }

  // Starts the threads, once; until then the caller of run() does every part. Throws
  // std::system_error where no thread can be had.
  void start();

  // f(stage, part), once for each part in [0, count()) of each stage in [0, stages); a stage begins
  // when all parts of the one before have ended, and what they wrote is seen then. One caller at a
  // time, not from inside f, which must not throw. Allocates nothing.
  template <class F>
  void run(int stages, const F& f) noexcept {
    call_ = [](const void* body, int stage, int part) {
      (*static_cast<const F*>(body))(stage, part);
    };
    body_ = &f;
    run_stages(stages);
  }

  // Wakes sleeping threads ahead of a run() that is about to come.
  void rouse() noexcept;

 private:
  // Stages are numbered through all runs; numbers may be skipped between runs, and wrap.
  using Number = std::uint32_t;
  struct alignas(64) Claim {
    std::atomic<Number> last;  // stage of which this part was taken
  };

  void run_stages(int stages) noexcept;
  void take_parts(Number stage, Number first, int preferred) noexcept;
  void work(int index) noexcept;
  void open(Number stage) noexcept;
  Number wait(Number seen) noexcept;  // until another number is open: that one
  void end() noexcept;

  const int count_;
  void (*call_)(const void*, int, int) = nullptr;
  const void* body_ = nullptr;
  std::unique_ptr<Claim[]> claims_;
  // Written by some while others look: apart from each other.
  alignas(64) std::atomic<Number> open_{0};
  alignas(64) std::atomic<int> ended_{0};          // parts of the open stage
  alignas(64) std::atomic<std::uint64_t> run_{0};  // first stage << 32 | the one after the last
  std::atomic<bool> stop_{false};
  std::vector<std::jthread> threads_;
};

}  // namespace tendon
