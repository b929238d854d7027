// Black pictures and a robot at rest: an observation that a policy takes, whatever its contract.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tendon/tendon.h"

namespace tendon {

// The observation's pictures point into the scene.
class BlankScene {
 public:
  BlankScene(const PolicyInfo& info, std::string prompt);
  BlankScene(const BlankScene&) = delete;
  BlankScene& operator=(const BlankScene&) = delete;

  const Observation& observation() const { return seen_; }

 private:
  std::vector<std::uint8_t> black_;
  Observation seen_;
};

}  // namespace tendon
