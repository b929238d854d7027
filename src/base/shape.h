// Extents of a tensor: a small value, at most kMaxRank of them.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace tendon {

class Shape {
 public:
  static constexpr int kMaxRank = 6;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents) {
    for (std::int64_t e : extents) push_back(e);
  }
  int rank() const { return rank_; }
  std::int64_t operator[](int i) const { return extent_[i < 0 ? rank_ + i : i]; }
  std::int64_t& operator[](int i) { return extent_[i < 0 ? rank_ + i : i]; }
  void push_back(std::int64_t extent);  // throws Error past kMaxRank or if negative
  std::int64_t numel() const {
    std::int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= extent_[i];
    return n;
  }
  const std::int64_t* begin() const { return extent_.data(); }
  const std::int64_t* end() const { return extent_.data() + rank_; }
  bool operator==(const Shape& o) const {
    return rank_ == o.rank_ && std::equal(begin(), end(), o.begin());
  }
  std::string str() const;  // "[2,3]"

 private:
  std::array<std::int64_t, kMaxRank> extent_{};
  int rank_ = 0;
};

}  // namespace tendon
