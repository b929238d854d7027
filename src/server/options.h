// How a server behaves; the flags of `tendon serve`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "server/queue.h"
#include "tendon/arrays.h"
#include "wire/routes.h"

namespace tendon::server {

struct ServerOptions {
  enum class Unknown : std::uint8_t { ignore, refuse };      // keys of an observation
  enum class Overrides : std::uint8_t { refuse, allow };     // seed, num_steps, noise of a request
  enum class Listen : std::uint8_t { at_once, when_ready };  // when_ready: after loading

  std::string host = "127.0.0.1";
  std::uint16_t port = 8000;  // 0: any free one
  Listen listen = Listen::at_once;
  QueueOptions queue;
  std::size_t max_connections = 8;  // sessions
  std::size_t max_message = std::size_t{64} << 20;
  // Seconds; 0: never.
  double ping_interval = 20, pong_timeout = 60;
  double message_timeout = 30;  // from a message's first byte to its last, and for a reply to leave
  double request_timeout = 10;  // for an HTTP request and the handshakes
  double stop_timeout = 30;     // for sessions to close after stop()
  std::uint64_t seed = 0;
  ArrayType actions = ArrayType::f32;  // or f64
  Unknown unknown = Unknown::ignore;
  Overrides overrides = Overrides::refuse;
  wire::KeyRing keys;
  std::string certificate, private_key;  // PEM files; empty: no TLS
  int io_threads = 2;
};

}  // namespace tendon::server
