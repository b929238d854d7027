// One request on its way: received and decoded on an I/O thread, run on the policy's thread,
// answered on an I/O thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "tendon/arrays.h"
#include "wire/request.h"

namespace tendon::server {

struct Job;

// Who sent a job and wants it back. Outlives all jobs that it has handed out.
class JobOwner {
 public:
  virtual ~JobOwner() = default;
  // On the policy's thread, with `status` and `chunk` filled in.
  virtual void done(std::unique_ptr<Job> job) noexcept = 0;
};

// Nanoseconds of the monotonic clock.
struct JobTimes {
  std::int64_t received = 0, decoded = 0, started = 0, finished = 0;
};

struct Job {
  enum class End : std::uint8_t { ran, failed, faulted, dropped };  // dropped: the server stops

  JobOwner* owner = nullptr;
  std::vector<std::byte> bytes;  // the message; pictures of the observation point into it
  wire::Request request;
  std::optional<ObservationBuilder> builder;
  const Observation* observation = nullptr;
  std::uint64_t seed = 0;
  Chunk chunk;
  Status status;
  End end = End::ran;
  JobTimes times;
};

}  // namespace tendon::server
