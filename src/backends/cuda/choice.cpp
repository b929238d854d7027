#include "backends/cuda/choice.h"

#include <algorithm>

namespace tendon::cuda {

const Choice* Choices::find(const std::string& key) const {
  const auto at =
      std::find_if(all_.begin(), all_.end(), [&](const Choice& c) { return c.key == key; });
  return at == all_.end() ? nullptr : &*at;
}

const Choice& Choices::add(std::string key, std::vector<std::string> options) {
  const Trace* trace = options.size() > 1 ? trace_ : nullptr;
  return all_.emplace_back(Choice{std::move(key), std::move(options), trace});
}

bool Choices::open(const Trace& trace) const {
  return std::any_of(all_.begin(), all_.end(), [&](const Choice& c) { return c.trace == &trace; });
}

void Choices::make(const Trace& trace, const std::function<double()>& seconds) {
  for (Choice& choice : all_) {
    if (choice.trace != &trace) continue;
    double best = 1e30;
    std::size_t fastest = 0;
    for (choice.selected = 0; choice.selected < choice.options.size(); ++choice.selected) {
      const double taken = seconds();
      if (taken < best) best = taken, fastest = choice.selected;
    }
    choice.selected = fastest, choice.trace = nullptr;
  }
}

}  // namespace tendon::cuda
