// Serves policies to robots: the openpi policy protocol on websockets, health, metrics and a live
// page on the same port.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/inference.h"
#include "server/options.h"

namespace tendon::server {

// A policy to be served as /v1/policies/<name>; the first is the default.
struct Offer {
  std::string name;
  MakeInference make;
};

class Server {
 public:
  // Throws Error: no policy, doubled names, certificate or key that cannot be read.
  Server(ServerOptions options, std::vector<Offer> offers);
  ~Server();  // stops and waits

  // Listens and begins to load. Throws Error where the address cannot be had.
  void start();
  std::uint16_t port() const;  // once started
  // From any thread: no new clients, requests under way are finished, sessions are closed. Returns
  // at once.
  void stop();
  // Until everything of stop() is done; at most ServerOptions::stop_timeout and the request under
  // way after it.
  void wait();
  // Whether a policy is still being loaded.
  bool loading() const;
  // Why a policy failed; empty: none did.
  std::string failure() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tendon::server
