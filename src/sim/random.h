// A small random generator whose numbers are the same with every compiler and library.
#pragma once

#include <cmath>
#include <cstdint>

namespace tendon::sim {

// Stream `stream` of `seed`: SplitMix64, one state word, 2^64 values.
class Random {
 public:
  Random(std::uint64_t seed, std::uint64_t stream) : state_(mix(seed) ^ mix(~stream)) {}

  std::uint64_t next() {
    state_ += kStep;
    return mix(state_);
  }
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }  // [0, 1)
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  // [0, count); the bias of at most count / 2^64 does not matter here.
  int index(int count) { return static_cast<int>(next() % static_cast<std::uint64_t>(count)); }
  double normal(double deviation) {
    const double radius = std::sqrt(-2 * std::log(1 - uniform()));
    return deviation * radius * std::cos(6.283185307179586 * uniform());
  }

 private:
  static constexpr std::uint64_t kStep = 0x9E3779B97F4A7C15u;
  static std::uint64_t mix(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }

  std::uint64_t state_;
};

}  // namespace tendon::sim
