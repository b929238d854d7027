#include "server/connection.h"
#include "server/http_connection.h"

namespace tendon::server {

net::awaitable<void> serve_plain(Tcp::socket socket, Hub& hub) {
  HttpConnection<beast::tcp_stream> connection(beast::tcp_stream(std::move(socket)), hub);
  co_await connection.run();
}

}  // namespace tendon::server
