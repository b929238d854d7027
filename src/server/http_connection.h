// The HTTP side of a connection, over TCP or TLS.
#pragma once

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/beast/websocket/rfc6455.hpp>
#include <functional>

#include "server/answers.h"
#include "server/session.h"

namespace tendon::server {

template <class Stream>
class HttpConnection final : public Guest {
 public:
  // Before the first request; false ends the connection.
  using Greeting = std::function<net::awaitable<bool>(Stream&)>;

  HttpConnection(Stream stream, Hub& hub, Greeting greeting = {})
      : stream_(std::move(stream)), hub_(hub), greeting_(std::move(greeting)) {}

  net::awaitable<void> run() {
    const auto executor = stream_.get_executor();
    const std::uint64_t id = hub_.waiting.sign_in(
        *this, [executor](std::function<void()> call) { net::post(executor, std::move(call)); });
    std::optional<HttpRequest> upgrade;
    Service* service = nullptr;
    try {
      beast::get_lowest_layer(stream_).expires_after(seconds(hub_.options.request_timeout));
      bool open = true;
      if (greeting_) open = co_await greeting_(stream_);
      if (open) service = co_await answer_requests(upgrade);
    } catch (const std::exception&) {
      cut();
    }
    hub_.waiting.sign_out(id);
    if (service == nullptr) co_return;
    const Place place{hub_};
    Session<Stream> session(std::move(stream_), hub_, *service);
    co_await session.run(std::move(*upgrade));
  }

  void leave() noexcept override { cut(); }
  void cut() noexcept override { beast::get_lowest_layer(stream_).close(); }

 private:
  // Given back at the session's end, however it comes.
  struct Place {
    ~Place() { --hub.counters.sessions_now; }
    Hub& hub;
  };
  using Response = beast::http::response<beast::http::string_body>;

  // The policy of a session that begins, or null at the connection's end.
  net::awaitable<Service*> answer_requests(std::optional<HttpRequest>& upgrade) {
    for (;;) {
      beast::http::request_parser<beast::http::string_body> parser;
      parser.header_limit(16384);
      parser.body_limit(4096);
      beast::get_lowest_layer(stream_).expires_after(seconds(hub_.options.request_timeout));
      ErrorCode error;
      co_await beast::http::async_read(stream_, buffer_, parser, into(error));
      if (error) {
        if (is_clients_fault(error)) co_await write(bad_request(error.message()), {});
        co_return nullptr;
      }
      HttpRequest request = parser.release();
      wire::Route route = route_of(request);
      ++hub_.counters.http;
      if (route.goal == wire::Goal::session && enter(route)) {
        upgrade = std::move(request);
        co_return hub_.find(route.name);
      }
      const Answer reply = answer(hub_, route);
      const bool open = request.keep_alive() && reply.after == Answer::After::keep;
      const bool written = co_await write(reply, request);
      if (!written || !open) co_return nullptr;
    }
  }

  wire::Route route_of(const HttpRequest& request) {
    const bool upgrade = beast::websocket::is_upgrade(request);
    const auto view = [](beast::string_view text) {
      return std::string_view(text.data(), text.size());
    };
    wire::Route route =
        wire::route({.method = view(request.method_string()),
                     .target = view(request.target()),
                     .authorization = view(request[beast::http::field::authorization]),
                     .kind = upgrade ? wire::Ask::Kind::upgrade : wire::Ask::Kind::plain},
                    hub_.names, hub_.options.keys);
    if (route.status == 401) ++hub_.counters.refused_key;
    return route;
  }

  // Takes a place among the sessions, or turns the route into a refusal.
  bool enter(wire::Route& route) {
    const bool full = ++hub_.counters.sessions_now > hub_.options.max_connections;
    if (full || hub_.stopping) {
      --hub_.counters.sessions_now;
      ++hub_.counters.refused_full;
      route = {.goal = wire::Goal::refuse,
               .status = 503,
               .reason = hub_.stopping ? "the server stops"
                                       : "as many clients as this server takes are connected"};
      return false;
    }
    ++hub_.counters.sessions;
    return true;
  }

  static bool is_clients_fault(const ErrorCode& error) {
    return error.category() ==
               beast::http::make_error_code(beast::http::error::bad_target).category() &&
           error != beast::http::error::end_of_stream &&
           error != beast::http::error::partial_message;
  }
  static Answer bad_request(const std::string& why) {
    return {.status = 400, .body = why + "\n", .after = Answer::After::close};
  }

  net::awaitable<bool> write(const Answer& answer, const HttpRequest& request) {
    const bool head = request.method() == beast::http::verb::head;
    Response response(static_cast<beast::http::status>(answer.status), 11);
    response.set(beast::http::field::server, "tendon");
    response.set(beast::http::field::content_type, answer.type);
    response.set(beast::http::field::cache_control, "no-store");
    if (answer.status == 401) response.set(beast::http::field::www_authenticate, "Api-Key");
    if (answer.status == 405) response.set(beast::http::field::allow, "GET, HEAD");
    if (answer.status == 426) {
      response.set(beast::http::field::upgrade, "websocket");
    }
    if (answer.status == 503) response.set(beast::http::field::retry_after, "5");
    response.keep_alive(request.keep_alive() && answer.after == Answer::After::keep);
    response.content_length(answer.body.size());
    if (!head) response.body() = answer.body;
    beast::http::response_serializer<beast::http::string_body> serializer(response);
    ErrorCode error;
    if (head) {
      co_await beast::http::async_write_header(stream_, serializer, into(error));
    } else {
      co_await beast::http::async_write(stream_, serializer, into(error));
    }
    if (!response.keep_alive() && !error) {
      beast::get_lowest_layer(stream_).socket().shutdown(Tcp::socket::shutdown_send, error);
    }
    co_return !error;
  }

  Stream stream_;
  Hub& hub_;
  Greeting greeting_;
  beast::flat_buffer buffer_;
};

}  // namespace tendon::server
