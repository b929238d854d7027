// What the server runs: a policy, or in tests something that sleeps.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "tendon/tendon.h"

namespace tendon::server {

// One thread at a time, the one that made it.
class Inference {
 public:
  virtual ~Inference() = default;
  virtual const PolicyInfo& info() const = 0;
  virtual Status infer(const Observation& observation, const InferOptions& options,
                       Chunk& chunk) noexcept = 0;
  // After a failed call: whether the device still answers. False ends the service.
  virtual bool healthy() noexcept { return true; }
};

// Makes the policy, on the thread that will run it; may take minutes. Throws Error.
using MakeInference = std::function<std::unique_ptr<Inference>()>;

// Loads a checkpoint. healthy() runs the policy once more on an empty scene where a device may
// have failed.
MakeInference load_policy(std::string path, LoadOptions options);

}  // namespace tendon::server
