// The parts of Boost that connections are made of.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <chrono>

namespace tendon::server {

namespace net = boost::asio;
namespace beast = boost::beast;
using Tcp = net::ip::tcp;
using ErrorCode = boost::system::error_code;

inline std::chrono::nanoseconds seconds(double s) {
  return std::chrono::nanoseconds(static_cast<std::int64_t>(s * 1e9));
}

// For co_await: the error goes to `error` instead of being thrown.
inline auto into(ErrorCode& error) { return net::redirect_error(net::use_awaitable, error); }

// Wakes coroutines of one executor that wait for something to change.
class Bell {
 public:
  explicit Bell(const net::any_io_executor& executor)
      : timer_(executor, net::steady_timer::time_point::max()) {}
  void ring() { timer_.cancel(); }
  // Until ring(); check the condition in a loop.
  net::awaitable<void> wait() {
    ErrorCode ignored;
    co_await timer_.async_wait(into(ignored));
  }

 private:
  net::steady_timer timer_;
};

}  // namespace tendon::server
