// The thread that loads and runs one policy.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "server/inference.h"
#include "server/queue.h"

namespace tendon::server {

class Worker {
 public:
  enum class State : std::uint8_t { loading, ready, failed, stopped };
  // Told on the worker's thread: of a change of state, and of each finished job before it goes
  // back.
  struct Watcher {
    std::function<void(State)> state;
    std::function<void(const Job&)> finished;
  };

  Worker(MakeInference make, QueueOptions options, Watcher watcher);
  ~Worker();  // stop(), then joins

  void start();
  // Thread-safe. See JobQueue::push; full also where the worker does not run (any more).
  JobQueue::Answer submit(std::unique_ptr<Job>& job);
  std::vector<std::unique_ptr<Job>> withdraw(const JobOwner* owner);
  // The job under way is finished, waiting ones go back as dropped. Returns at once.
  void stop();
  void join();

  State state() const;
  std::string reason() const;  // of State::failed
  std::size_t waiting() const;
  // Once ready; fixed then.
  const PolicyInfo& info() const { return info_; }

 private:
  void run();
  bool load();
  std::unique_ptr<Job> next();
  void execute(Job& job);
  void set_state(State state, std::string reason);

  MakeInference make_;
  Watcher watcher_;
  std::unique_ptr<Inference> inference_;
  PolicyInfo info_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  JobQueue queue_;
  State state_ = State::loading;
  std::string reason_;
  bool stopping_ = false;
  std::size_t running_ = 0;
  std::thread thread_;
};

}  // namespace tendon::server
