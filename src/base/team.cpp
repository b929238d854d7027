#include "base/team.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tendon {
namespace {

// About 20 us on Zen 3, 45 where a pause takes 140 cycles: longer than most waits between threads
// that run, and little beside a time slice where one does not.
constexpr int kSpins = 1000;

void pause() noexcept {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

}  // namespace

void Team::Counter::advance() noexcept {
  value_.fetch_add(1);
  value_.notify_all();
}

std::uint32_t Team::Counter::wait(std::uint32_t seen) noexcept {
  for (int i = 0; i < kSpins; ++i) {
    const std::uint32_t now = value_.load(std::memory_order_acquire);
    if (now != seen) return now;
    pause();
  }
  for (;;) {
    value_.wait(seen);
    const std::uint32_t now = value_.load(std::memory_order_acquire);
    if (now != seen) return now;
  }
}

Team::Team(int count) : count_(count) {
  try {
    threads_.reserve(static_cast<std::size_t>(count - 1));
    for (int i = 1; i < count; ++i) threads_.emplace_back([this, i] { work(i); });
  } catch (...) {
    end();
    throw;
  }
}

Team::~Team() { end(); }

void Team::end() noexcept {
  stop_.store(true, std::memory_order_relaxed);
  awake_.advance();
}

void Team::rouse() noexcept {
  if (count_ > 1) awake_.advance();
}

void Team::run_job() noexcept {
  if (count_ > 1) {
    jobs_.fetch_add(1, std::memory_order_release);
    awake_.advance();
  }
  job_(body_, Member(*this, 0));
  meet();
}

// The last to arrive lets the others go. Its own count of meetings cannot move before it has
// arrived, so that reading it first is safe.
void Team::meet() noexcept {
  if (count_ == 1) return;
  const std::uint32_t seen = met_.value();
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == count_) {
    arrived_.store(0, std::memory_order_relaxed);
    met_.advance();
  } else {
    met_.wait(seen);
  }
}

void Team::work(int index) noexcept {
  std::uint32_t awake = 0, done = 0;
  for (;;) {
    awake = awake_.wait(awake);
    if (stop_.load(std::memory_order_relaxed)) return;
    if (jobs_.load(std::memory_order_acquire) == done) continue;
    ++done;
    job_(body_, Member(*this, index));
    meet();
  }
}

}  // namespace tendon
