// Work spread over a team. A worker is a part of it, done by whichever thread takes it.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <type_traits>

#include "base/team.h"

namespace tendon::cpu {

class Worker {
 public:
  explicit Worker(int index, int phase = 0) : index_(index), phase_(phase) {}
  int index() const { return index_; }
  int phase() const { return phase_; }  // of a step that has several

 private:
  int index_, phase_;
};

struct Range {
  std::int64_t begin, end;
};

// Part `index` of `parts` nearly equal ones of [0, count).
inline Range part(std::int64_t count, int index, int parts) {
  return {count * index / parts, count * (index + 1) / parts};
}

// What worker `index` does of [0, count) where `threads` share it: parts that differ by one at
// most, nothing for workers past the count.
inline Range share(std::int64_t count, int index, int threads) {
  const auto parts = static_cast<int>(std::min<std::int64_t>(threads, count));
  return index < parts ? part(count, index, parts) : Range{0, 0};
}

// f(begin, end) for the worker's share of [0, count).
template <class F>
void split(const Worker& w, int threads, std::int64_t count, const F& f) noexcept {
  const Range r = share(count, w.index(), threads);
  if (r.begin < r.end) f(r.begin, r.end);
}

// Tasks 0, 1, ... given to whichever worker asks next.
class Tasks {
 public:
  // f(i) for tasks that no other of the `threads` workers has, or f(i, next) where `next` is what
  // the worker does after it (>= count: nothing); each asks once in a phase.
  template <class F>
  void take(const Worker& w, int threads, std::int64_t count, const F& f) noexcept {
    if (w.index() >= threads) return;
    std::int64_t i = next_.fetch_add(1, std::memory_order_relaxed);
    while (i < count) {
      if constexpr (std::is_invocable_v<const F&, std::int64_t, std::int64_t>) {
        const std::int64_t next = next_.fetch_add(1, std::memory_order_relaxed);
        f(i, next);
        i = next;
      } else {
        f(i);
        i = next_.fetch_add(1, std::memory_order_relaxed);
      }
    }
    // Each comes too late once; after the last of them nobody asks.
    if (i == count + threads - 1) next_.store(0, std::memory_order_relaxed);
  }

 private:
  std::atomic<std::int64_t> next_{0};
};

// The first exception that any thread met, thrown again by the caller of check().
class Trouble {
 public:
  template <class F>
  void guard(const F& f) noexcept {
    try {
      f();
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!first_) first_ = std::current_exception();
    }
  }
  void check() const {
    if (first_) std::rethrow_exception(first_);
  }

 private:
  std::mutex mutex_;
  std::exception_ptr first_;
};

// f(begin, end) over [0, count) on all threads of the team, while loading: f may throw.
template <class F>
void spread(Team& team, std::int64_t count, const F& f) {
  Trouble trouble;
  team.run(1, [&](int, int part) {
    split(Worker(part), team.count(), count,
          [&](std::int64_t begin, std::int64_t end) { trouble.guard([&] { f(begin, end); }); });
  });
  trouble.check();
}

}  // namespace tendon::cpu
