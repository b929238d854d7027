#include "base/shape.h"

#include "base/error.h"

namespace tendon {

void Shape::push_back(std::int64_t extent) {
  require(rank_ < kMaxRank, "shape: at most {} dimensions, {} came", kMaxRank, rank_ + 1);
  require(extent >= 0, "shape: extents are not negative, {} came", extent);
  extent_[rank_++] = extent;
}

std::string Shape::str() const {
  std::string s = "[";
  for (int i = 0; i < rank_; ++i) s += (i ? "," : "") + std::to_string(extent_[i]);
  return s + "]";
}

}  // namespace tendon
