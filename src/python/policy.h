// A loaded policy as Python calls it: any thread, without the interpreter's lock while it computes.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "tendon/arrays.h"
#include "tendon/tendon.h"

namespace tendon::python {

struct SessionOptions {
  std::uint64_t seed = 0;
  bool strict = false;  // refuse keys that the policy does not take
};

// One inference at a time; further callers wait in line. Holds what the next request needs: its
// number, from which its noise comes.
class SharedPolicy {
 public:
  SharedPolicy(const std::string& path, const LoadOptions& options, SessionOptions session);

  const PolicyInfo& info() const { return policy_.info(); }
  bool takes(const std::string& key) const { return builder_.takes(key); }

  enum class Counts { as_request, not_at_all };
  struct Call {
    std::optional<std::uint64_t> seed;  // none: request_seed of the session
    int steps = 0;
    double shift = 0;
    PinRule pin_rule = PinRule::family;
    nanobind::object noise = nanobind::none(), pinned = nanobind::none();  // fp32 arrays
    // Not at all: requests after it are numbered as if it had not been (warming up).
    Counts counts = Counts::as_request;
  };
  // `items`: (key, value) pairs; a value is text, or shows an array, or is None for keys that are
  // not taken. Called and left with the interpreter's lock held.
  Chunk infer(const nanobind::list& items, const Call& call);

  // The next request is number 0 of a session, of this seed where one is given.
  void reset(std::optional<std::uint64_t> seed);

 private:
  struct Parsed;

  Policy policy_;
  ObservationBuilder builder_;
  std::mutex mutex_;
  std::uint64_t seed_, request_ = 0;
  const bool strict_;
};

}  // namespace tendon::python
