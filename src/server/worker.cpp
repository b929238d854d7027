#include "server/worker.h"

#include "base/clock.h"

namespace tendon::server {

Worker::Worker(MakeInference make, QueueOptions options, Watcher watcher)
    : make_(std::move(make)), watcher_(std::move(watcher)), queue_(options) {}

Worker::~Worker() {
  stop();
  join();
}

void Worker::start() {
  thread_ = std::thread([this] { run(); });
}

void Worker::join() {
  if (thread_.joinable()) thread_.join();
}

void Worker::stop() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  wake_.notify_all();
}

Worker::State Worker::state() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

std::string Worker::reason() const {
  const std::lock_guard lock(mutex_);
  return reason_;
}

std::size_t Worker::waiting() const {
  const std::lock_guard lock(mutex_);
  return queue_.size();
}

void Worker::set_state(State state, std::string reason) {
  {
    const std::lock_guard lock(mutex_);
    state_ = state;
    reason_ = std::move(reason);
  }
  watcher_.state(state);
}

JobQueue::Answer Worker::submit(std::unique_ptr<Job>& job) {
  const std::lock_guard lock(mutex_);
  if (state_ != State::ready || stopping_) return JobQueue::Answer::full;
  const JobQueue::Answer answer = queue_.push(job, running_);
  wake_.notify_one();
  return answer;
}

std::vector<std::unique_ptr<Job>> Worker::withdraw(const JobOwner* owner) {
  const std::lock_guard lock(mutex_);
  return queue_.withdraw(owner);
}

bool Worker::load() {
  try {
    inference_ = make_();
    info_ = inference_->info();
    set_state(State::ready, "");
    return true;
  } catch (const std::exception& e) {
    set_state(State::failed, e.what());
    return false;
  }
}

std::unique_ptr<Job> Worker::next() {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [this] { return stopping_ || queue_.size() > 0; });
  if (stopping_) return nullptr;
  running_ = 1;
  return queue_.pop();
}

void Worker::execute(Job& job) {
  job.times.started = now_ns();
  job.status = inference_->infer(
      *job.observation, {.noise = job.request.noise, .seed = job.seed, .steps = job.request.steps},
      job.chunk);
  job.times.finished = now_ns();
  job.end = job.status.ok() ? Job::End::ran : Job::End::failed;
  if (!job.status.ok() && !inference_->healthy()) job.end = Job::End::faulted;
}

void Worker::run() {
  bool serving = load();
  while (std::unique_ptr<Job> job = next()) {
    if (serving) {
      execute(*job);
    } else {
      job->end = Job::End::dropped;
    }
    if (job->end == Job::End::faulted) {
      serving = false;
      set_state(State::failed, std::string(job->status.message()));
    }
    watcher_.finished(*job);
    {
      const std::lock_guard lock(mutex_);
      running_ = 0;  // before the client can know, and ask again
    }
    JobOwner* owner = job->owner;
    owner->done(std::move(job));
  }
  for (;;) {
    std::unique_ptr<Job> job;
    {
      const std::lock_guard lock(mutex_);
      job = queue_.pop();
    }
    if (!job) break;
    job->end = Job::End::dropped;
    JobOwner* owner = job->owner;
    owner->done(std::move(job));
  }
  inference_.reset();
  set_state(State::stopped, reason());
}

}  // namespace tendon::server
