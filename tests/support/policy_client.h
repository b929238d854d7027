// A client of the policy protocol that waits for every answer: for tests, the soak and the
// benchmark.
#pragma once

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <string>
#include <utility>
#include <vector>

#include "wire/encoder.h"
#include "wire/message.h"

namespace tendon::testing_support {

namespace net = boost::asio;
namespace beast = boost::beast;

// A TCP connection to this machine. Throws boost::system::system_error.
inline net::ip::tcp::socket connect(net::io_context& io, std::uint16_t port) {
  net::ip::tcp::socket socket(io);
  socket.connect({net::ip::make_address("127.0.0.1"), port});
  socket.set_option(net::ip::tcp::no_delay(true));
  return socket;
}

struct HttpReply {
  int status = 0;
  std::string body;
  beast::http::response<beast::http::string_body> head;
};

inline HttpReply http(std::uint16_t port, const std::string& target, const std::string& key = {},
                      beast::http::verb verb = beast::http::verb::get) {
  net::io_context io;
  net::ip::tcp::socket socket = connect(io, port);
  beast::http::request<beast::http::empty_body> request(verb, target, 11);
  request.set(beast::http::field::host, "localhost");
  if (!key.empty()) request.set(beast::http::field::authorization, key);
  beast::http::write(socket, request);
  beast::flat_buffer buffer;
  beast::http::response_parser<beast::http::string_body> parser;
  parser.body_limit(std::uint64_t{64} << 20);
  parser.skip(verb == beast::http::verb::head);
  beast::http::read(socket, buffer, parser);
  return {static_cast<int>(parser.get().result_int()), parser.get().body(), parser.get()};
}

class PolicyClient {
 public:
  // Connects; the metadata is read by the first call of receive().
  explicit PolicyClient(std::uint16_t port, const std::string& path = "/",
                        const std::string& key = {})
      : ws_(connect(io_, port)) {
    if (!key.empty()) {
      ws_.set_option(
          beast::websocket::stream_base::decorator([key](beast::websocket::request_type& request) {
            request.set(beast::http::field::authorization, key);
          }));
    }
    ws_.handshake("localhost", path);
    ws_.binary(true);
    // One frame a message and one write a frame, as openpi's client sends them.
    ws_.auto_fragment(false);
    constexpr std::size_t kWriteBuffer = std::size_t{1} << 19;
    ws_.write_buffer_bytes(kWriteBuffer);
    ws_.read_message_max(std::size_t{256} << 20);
  }

  void send(const std::string& bytes) { ws_.write(net::buffer(bytes)); }
  // The next message; text() tells its frame. Throws beast::system_error at the end.
  std::string receive() {
    beast::flat_buffer buffer;
    ws_.read(buffer);
    text_ = ws_.got_text();
    return beast::buffers_to_string(buffer.data());
  }
  std::string ask(const std::string& bytes) {
    send(bytes);
    return receive();
  }
  bool text() const { return text_; }
  // Close code of a server that ends the session: reads until then.
  int close_code() {
    beast::flat_buffer buffer;
    boost::system::error_code error;
    while (!error) ws_.read(buffer, error);
    return error == beast::websocket::error::closed ? ws_.reason().code : 0;
  }
  void close() { ws_.close(beast::websocket::close_code::normal); }
  beast::websocket::stream<net::ip::tcp::socket>& stream() { return ws_; }

 private:
  net::io_context io_;
  beast::websocket::stream<net::ip::tcp::socket> ws_;
  bool text_ = false;
};

// A decoded reply that owns its bytes.
class Reply {
 public:
  explicit Reply(std::string bytes) : bytes_(std::move(bytes)) {
    message_.parse(std::as_bytes(std::span(bytes_.data(), bytes_.size())));
  }
  Reply(const Reply&) = delete;
  const wire::Node* find(std::string_view key) const { return message_.find(message_.root(), key); }
  const wire::Node* find(std::string_view map, std::string_view key) const {
    const wire::Node* inner = find(map);
    return inner == nullptr ? nullptr : message_.find(*inner, key);
  }
  double number(std::string_view map, std::string_view key) const {
    const wire::Node* node = find(map, key);
    return node == nullptr ? -1 : node->real;
  }
  const wire::Message& message() const { return message_; }

 private:
  std::string bytes_;
  wire::Message message_;
};

}  // namespace tendon::testing_support
