#include "base/team.h"

#include <chrono>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tendon {
namespace {

// Longer than nearly all waits between threads that run, so that they pay for no sleep (waking
// takes 5 to 50 us, and milliseconds where others want the processor), and little beside a time
// slice of 3 ms.
constexpr std::chrono::microseconds kSpin{200};

void pause() noexcept {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// Whether a comes after b.
bool after(std::uint32_t a, std::uint32_t b) noexcept {
  return static_cast<std::int32_t>(a - b) > 0;
}

}  // namespace

Team::Team(int count) : count_(count), claims_(new Claim[static_cast<std::size_t>(count)]) {
  for (int i = 0; i < count; ++i) claims_[static_cast<std::size_t>(i)].last.store(0);
}

void Team::start() {
  if (!threads_.empty()) return;
  try {
    threads_.reserve(static_cast<std::size_t>(count_ - 1));
    for (int i = 1; i < count_; ++i) threads_.emplace_back([this, i] { work(i); });
  } catch (...) {
    end();
    throw;
  }
}

Team::~Team() { end(); }

void Team::end() noexcept {
  stop_.store(true, std::memory_order_relaxed);
  rouse();
}

void Team::open(Number stage) noexcept {
  open_.store(stage);
  open_.notify_all();
}

Team::Number Team::wait(Number seen) noexcept {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 64; ++i) {
      const Number now = open_.load(std::memory_order_acquire);
      if (now != seen) return now;
      pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  for (;;) {
    open_.wait(seen);
    const Number now = open_.load(std::memory_order_acquire);
    if (now != seen) return now;
  }
}

void Team::rouse() noexcept {
  if (count_ > 1) open(open_.load(std::memory_order_relaxed) + 1);
}

void Team::run_stages(int stages) noexcept {
  if (count_ == 1) {
    for (int stage = 0; stage < stages; ++stage) call_(body_, stage, 0);
    return;
  }
  const Number first = open_.load(std::memory_order_relaxed) + 1;
  const Number last = first + static_cast<Number>(stages);
  run_.store(std::uint64_t{first} << 32 | last, std::memory_order_release);
  open(first);
  for (Number stage = first; stage != last; stage = wait(stage)) take_parts(stage, first, 0);
}

// Who takes a part knows that its stage has not ended, and so that the run it belongs to has not.
void Team::take_parts(Number stage, Number first, int preferred) noexcept {
  for (int i = 0; i < count_; ++i) {
    const int part = (preferred + i) % count_;
    std::atomic<Number>& claim = claims_[static_cast<std::size_t>(part)].last;
    Number last = claim.load(std::memory_order_relaxed);
    if (!after(stage, last) || !claim.compare_exchange_strong(last, stage)) continue;
    call_(body_, static_cast<int>(stage - first), part);
    if (ended_.fetch_add(1, std::memory_order_acq_rel) + 1 == count_) {
      ended_.store(0, std::memory_order_relaxed);
      open(stage + 1);
    }
  }
}

void Team::work(int index) noexcept {
  for (Number stage = 0;; stage = wait(stage)) {
    if (stop_.load(std::memory_order_relaxed)) return;
    const std::uint64_t run = run_.load(std::memory_order_acquire);
    const auto first = static_cast<Number>(run >> 32), last = static_cast<Number>(run);
    if (!after(first, stage) && after(last, stage)) take_parts(stage, first, index);
  }
}

}  // namespace tendon
