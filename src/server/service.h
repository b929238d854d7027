// A policy on offer: its name, its worker, its board.
#pragma once

#include <memory>
#include <string>

#include "server/board.h"
#include "server/worker.h"

namespace tendon::server {

struct Service {
  Service(std::string title, MakeInference make, const QueueOptions& queue,
          std::function<void(Worker::State)> changed)
      : name(std::move(title)),
        worker(
            std::move(make), queue,
            {.state = std::move(changed), .finished = [this](const Job& job) { board.add(job); }}) {
  }

  std::string name;
  Board board;
  Worker worker;
};

// The session's first message: what the contract tells clients, then {"server": ...}.
std::string metadata(const Service& service);

}  // namespace tendon::server
