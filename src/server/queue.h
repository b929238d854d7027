// Requests waiting for a policy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "server/job.h"

namespace tendon::server {

enum class QueueMode : std::uint8_t {
  latest,  // of each client the newest request; clients in turn
  fifo,    // in order of arrival
  reject,  // nothing waits: refused while a request is under way
};

struct QueueOptions {
  QueueMode mode = QueueMode::latest;
  std::size_t depth = 32;  // requests that wait, of all clients
};

// Not thread-safe: its owner locks.
class JobQueue {
 public:
  explicit JobQueue(const QueueOptions& options) : options_(options) {}

  enum class Answer : std::uint8_t { queued, replaced, full };
  // full: `job` stays with the caller. replaced: it now holds the older request of the same owner,
  // which will not run. `running`: requests under way.
  Answer push(std::unique_ptr<Job>& job, std::size_t running);
  std::unique_ptr<Job> pop();  // null: nothing waits
  // Takes back what waits of this owner.
  std::vector<std::unique_ptr<Job>> withdraw(const JobOwner* owner);
  std::size_t size() const { return waiting_.size(); }

 private:
  QueueOptions options_;
  std::deque<std::unique_ptr<Job>> waiting_;
};

}  // namespace tendon::server
