// A connection from its first byte: plain requests are answered, an upgrade becomes a session.
#pragma once

#include "server/hub.h"
#include "server/net.h"

namespace tendon::server {

// The settings and keys of TLS; null where the server speaks plain TCP.
class TlsContext {
 public:
  // PEM files. Throws Error.
  TlsContext(const std::string& certificate, const std::string& private_key);
  ~TlsContext();
  class Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

// To the end of the connection. `socket`'s executor runs one handler at a time.
net::awaitable<void> serve_plain(Tcp::socket socket, Hub& hub);
net::awaitable<void> serve_tls(Tcp::socket socket, Hub& hub, TlsContext& tls);

}  // namespace tendon::server
