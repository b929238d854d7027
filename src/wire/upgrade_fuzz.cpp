// Any bytes on a connection: HTTP requests, an upgrade, then frames, as the server reads them.
#include <boost/beast/_experimental/test/stream.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket/rfc6455.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <cstdint>

#include "wire/request.h"
#include "wire/routes.h"

namespace {

namespace net = boost::asio;
namespace beast = boost::beast;

std::string_view view(beast::string_view text) { return {text.data(), text.size()}; }

// `rest`: what came behind the upgrade.
void read_frames(net::io_context& io, const std::string& rest,
                 const beast::http::request<beast::http::string_body>& r) {
  beast::test::stream stream(io, rest), other(io);
  stream.connect(other);
  other.close();
  beast::websocket::stream<beast::test::stream&> ws(stream);
  ws.read_message_max(1 << 16);
  boost::system::error_code error;
  ws.accept(r, error);
  tendon::wire::RequestDecoder decoder;
  tendon::wire::Request request;
  while (!error) {
    beast::flat_buffer buffer;
    ws.read(buffer, error);
    if (error) return;
    try {
      decoder.decode(
          std::as_bytes(std::span(static_cast<const char*>(buffer.data().data()), buffer.size())),
          request);
    } catch (const tendon::Error&) {
      return;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::vector<std::string> policies{"arm"};
  static const tendon::wire::KeyRing keys = tendon::wire::KeyRing::from_text("key", "fuzz");
  net::io_context io;
  beast::test::stream stream(io, beast::string_view(reinterpret_cast<const char*>(data), size));
  beast::test::stream other(io);
  stream.connect(other);
  other.close();
  beast::flat_buffer buffer;
  for (;;) {
    beast::http::request_parser<beast::http::string_body> parser;
    parser.header_limit(16384);
    parser.body_limit(4096);
    boost::system::error_code error;
    beast::http::read(stream, buffer, parser, error);
    if (error) return 0;
    const auto request = parser.release();
    const bool upgrade = beast::websocket::is_upgrade(request);
    const tendon::wire::Route route = tendon::wire::route(
        {.method = view(request.method_string()),
         .target = view(request.target()),
         .authorization = view(request[beast::http::field::authorization]),
         .kind = upgrade ? tendon::wire::Ask::Kind::upgrade : tendon::wire::Ask::Kind::plain},
        policies, keys);
    if (route.goal == tendon::wire::Goal::session) {
      const std::string rest = beast::buffers_to_string(buffer.data()) +
                               beast::buffers_to_string(stream.buffer().data());
      read_frames(io, rest, request);
      return 0;
    }
    if (!request.keep_alive()) return 0;
  }
}
