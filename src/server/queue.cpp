#include "server/queue.h"

#include <algorithm>

namespace tendon::server {

JobQueue::Answer JobQueue::push(std::unique_ptr<Job>& job, std::size_t running) {
  if (options_.mode == QueueMode::reject && running + waiting_.size() > 0) return Answer::full;
  if (options_.mode == QueueMode::latest) {
    for (auto& waiting : waiting_) {
      if (waiting->owner != job->owner) continue;
      std::swap(waiting, job);  // keeps its place: clients are served in turn
      return Answer::replaced;
    }
  }
  if (waiting_.size() >= options_.depth) return Answer::full;
  waiting_.push_back(std::move(job));
  return Answer::queued;
}

std::unique_ptr<Job> JobQueue::pop() {
  if (waiting_.empty()) return nullptr;
  std::unique_ptr<Job> job = std::move(waiting_.front());
  waiting_.pop_front();
  return job;
}

std::vector<std::unique_ptr<Job>> JobQueue::withdraw(const JobOwner* owner) {
  std::vector<std::unique_ptr<Job>> taken;
  for (auto& job : waiting_) {
    if (job->owner == owner) taken.push_back(std::move(job));
  }
  std::erase(waiting_, nullptr);
  return taken;
}

}  // namespace tendon::server
