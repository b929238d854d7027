// Ops that can be run in several ways: which is fastest depends on what runs before and after, so
// it is found in the captured trace that has the op first.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "ops/trace.h"

namespace tendon::cuda {

struct Choice {
  std::string key;                   // what decides the op's speed
  std::vector<std::string> options;  // as the cache file remembers them
  const Trace* trace = nullptr;      // in which it is open; null once it is made
  std::size_t selected = 0;
};

class Choices {
 public:
  // Choices added from here on are open in this trace.
  void begin(const Trace& trace) { trace_ = &trace; }
  // Null where there is none. Choices stay where they are.
  const Choice* find(const std::string& key) const;
  const Choice& add(std::string key, std::vector<std::string> options);
  bool open(const Trace& trace) const;
  // Makes the choices of a trace, one after the other; `seconds` is the time that it takes as they
  // are at the moment.
  void make(const Trace& trace, const std::function<double()>& seconds);
  const std::deque<Choice>& all() const { return all_; }

 private:
  const Trace* trace_ = nullptr;
  std::deque<Choice> all_;
};

}  // namespace tendon::cuda
