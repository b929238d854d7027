#include <chrono>

#include "models/model.h"

namespace tendon {

void StageRunner::begin() noexcept {
  status_ = Status();
  used_ = 0;
}

void StageRunner::run(std::string_view stage, std::size_t trace, int first, int count) noexcept {
  if (!status_.ok()) return;
  const auto start = std::chrono::steady_clock::now();
  if (observer_ == nullptr) {
    keep(executable_.run(trace, first, count));
  } else {
    for (int i = first; i < first + count && status_.ok(); ++i) {
      keep(executable_.run(trace, i, 1));
      if (status_.ok()) observer_->after(stage, trace, i);
    }
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (std::size_t i = 0; i < used_; ++i) {
    if (times_[i].first == stage) {
      times_[i].second += seconds;
      return;
    }
  }
  if (used_ < times_.size()) times_[used_++] = {stage, seconds};
}

}  // namespace tendon
