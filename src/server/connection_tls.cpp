#include <openssl/err.h>

#include <boost/asio/ssl/context.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <boost/beast/websocket/ssl.hpp>

#include "base/error.h"
#include "server/connection.h"
#include "server/http_connection.h"

namespace tendon::server {

namespace ssl = net::ssl;

class TlsContext::Impl {
 public:
  ssl::context context{ssl::context::tls_server};
};

TlsContext::TlsContext(const std::string& certificate, const std::string& private_key)
    : impl_(std::make_unique<Impl>()) {
  ssl::context& c = impl_->context;
  c.set_options(ssl::context::default_workarounds | ssl::context::no_tlsv1 |
                ssl::context::no_tlsv1_1);
  ErrorCode error;
  c.use_certificate_chain_file(certificate, error);
  require(!error, "certificate {}: {}", certificate, error.message());
  c.use_private_key_file(private_key, ssl::context::pem, error);
  require(!error, "private key {}: {}", private_key, error.message());
  require(SSL_CTX_check_private_key(c.native_handle()) == 1,
          "the private key {} does not belong to the certificate {}", private_key, certificate);
}

TlsContext::~TlsContext() = default;

namespace {

using Stream = beast::ssl_stream<beast::tcp_stream>;

net::awaitable<bool> shake_hands(Stream& stream) {
  ErrorCode error;
  co_await stream.async_handshake(ssl::stream_base::server, into(error));
  co_return !error;
}

}  // namespace

net::awaitable<void> serve_tls(Tcp::socket socket, Hub& hub, TlsContext& tls) {
  HttpConnection<Stream> connection(
      Stream(beast::tcp_stream(std::move(socket)), tls.impl().context), hub, shake_hands);
  co_await connection.run();
}

}  // namespace tendon::server
