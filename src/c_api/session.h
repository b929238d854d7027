// A policy behind the C ABI: the chunk it made last, how much of it was served, whose turn it is.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tendon/arrays.h"
#include "tendon/tendon.h"
#include "tendon/tendon_c.h"

namespace tendon::c_api {

// One thread at a time; Turn says who. Everything here throws Error on bad input.
class Session {
 public:
  Session(const char* path, const tendon_load_options& options);

  void warm_up(const char* prompt);
  void infer(const tendon_observation* observation, const tendon_infer_options* options);
  // The next action of the current chunk; infers where none is left.
  std::span<const double> next_action(const tendon_observation* observation,
                                      const tendon_infer_options* options);
  void reset();

  int actions_left() const { return left_.load(std::memory_order_relaxed); }
  tendon_chunk chunk() const;
  tendon_info info() const;
  tendon_input input(int index) const;

  // Whether a thread is inside of a call; held through Turn.
  std::atomic_flag busy = ATOMIC_FLAG_INIT;

 private:
  const Observation& read(const tendon_observation* observation);

  Policy policy_;
  ObservationBuilder builder_;
  Chunk chunk_;
  std::vector<tendon_timing> timing_;
  std::uint64_t seed_ = 0, request_ = 0;
  int execute_ = 0;
  std::atomic<int> left_{0};
};

// The right to call into a session, for as long as it lives.
class Turn {
 public:
  explicit Turn(Session& session) noexcept
      : session_(session), mine_(!session.busy.test_and_set(std::memory_order_acquire)) {}
  ~Turn() {
    if (mine_) session_.busy.clear(std::memory_order_release);
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  explicit operator bool() const noexcept { return mine_; }

 private:
  Session& session_;
  bool mine_;
};

}  // namespace tendon::c_api
