// Work spread over OpenMP's threads, which oneDNN shares.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace tendon::cpu {

// f(thread, threads) on each of `threads`; on the caller alone where that is 1.
template <class F>
void on_threads(int threads, const F& f) noexcept {
  if (threads <= 1) {
    f(0, 1);
    return;
  }
#pragma omp parallel num_threads(threads)
  f(omp_get_thread_num(), omp_get_num_threads());
}

// Waits for the other threads inside on_threads().
inline void meet(int threads) noexcept {
  if (threads <= 1) return;
#pragma omp barrier
}

struct Range {
  std::int64_t begin, end;
};

// Part `index` of `parts` nearly equal ones of [0, count).
inline Range part(std::int64_t count, int index, int parts) {
  return {count * index / parts, count * (index + 1) / parts};
}

// f(begin, end, thread) over [0, count), in nearly equal parts.
template <class F>
void split(int threads, std::int64_t count, const F& f) noexcept {
  on_threads(static_cast<int>(std::min<std::int64_t>(threads, count)), [&](int index, int parts) {
    const Range r = part(count, index, parts);
    if (r.begin < r.end) f(r.begin, r.end, index);
  });
}

}  // namespace tendon::cpu
