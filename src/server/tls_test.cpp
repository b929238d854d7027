// Sessions over TLS, and clients that stall in its handshake.
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <boost/beast/ssl/ssl_stream.hpp>
#include <boost/beast/websocket/ssl.hpp>
#include <filesystem>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "server/server.h"
#include "tests/support/policy_client.h"

namespace tendon::server {
namespace {

namespace net = testing_support::net;
namespace beast = testing_support::beast;
namespace ssl = net::ssl;
using testing_support::connect;
using testing_support::Reply;

// Takes a state of one number and gives it back.
class Echo final : public Inference {
 public:
  Echo() {
    info_.inputs = {{.key = "state", .slot = {}, .size = 1}};
    info_.state_size = info_.horizon = info_.width = 1;
    info_.needs_prompt = false;
  }
  const PolicyInfo& info() const override { return info_; }
  Status infer(const Observation& seen, const InferOptions&, Chunk& chunk) noexcept override {
    chunk.horizon = chunk.width = 1;
    chunk.actions = seen.state[0].values;
    return {};
  }

 private:
  PolicyInfo info_;
};

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

Key make_key() { return {EVP_EC_gen("P-256"), EVP_PKEY_free}; }

void write_key(EVP_PKEY* key, const std::string& path) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> file(BIO_new_file(path.c_str(), "w"), BIO_free);
  require(PEM_write_bio_PrivateKey(file.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1,
          "{} cannot be written", path);
}

// Signed by itself, for a day.
void write_certificate(EVP_PKEY* key, const std::string& path) {
  const std::unique_ptr<X509, decltype(&X509_free)> made(X509_new(), X509_free);
  X509_set_version(made.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(made.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(made.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(made.get()), 86400);
  X509_NAME* name = X509_get_subject_name(made.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("localhost"), -1, -1, 0);
  X509_set_issuer_name(made.get(), name);
  X509_set_pubkey(made.get(), key);
  X509_sign(made.get(), key, EVP_sha256());
  const std::unique_ptr<BIO, decltype(&BIO_free)> file(BIO_new_file(path.c_str(), "w"), BIO_free);
  require(PEM_write_bio_X509(file.get(), made.get()) == 1, "{} cannot be written", path);
}

class TlsTest : public ::testing::Test {
 protected:
  TlsTest() {
    std::filesystem::create_directories(folder);
    const Key key = make_key();
    write_key(key.get(), folder / "key.pem");
    write_certificate(key.get(), folder / "certificate.pem");
    options.port = 0;
    options.certificate = folder / "certificate.pem";
    options.private_key = folder / "key.pem";
  }
  ~TlsTest() override {
    server.reset();
    std::filesystem::remove_all(folder);
  }
  void start() {
    server.emplace(options, std::vector<Offer>{{"echo", [] { return std::make_unique<Echo>(); }}});
    server->start();
    while (server->loading()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  // A client that trusts this certificate asks once.
  void ask() {
    net::io_context io;
    ssl::context context(ssl::context::tls_client);
    context.load_verify_file(options.certificate);
    context.set_verify_mode(ssl::verify_peer);
    beast::websocket::stream<beast::ssl_stream<net::ip::tcp::socket>> ws(
        connect(io, server->port()), context);
    ws.next_layer().handshake(ssl::stream_base::client);
    ws.handshake("localhost", "/");
    ws.binary(true);
    beast::flat_buffer metadata, answer;
    ws.read(metadata);
    wire::Encoder out;
    ws.write(net::buffer(out.map(1).text("state").real(0.5).str()));
    ws.read(answer);
    EXPECT_NE(Reply(beast::buffers_to_string(answer.data())).find("actions"), nullptr);
  }

  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("tendon_tls_" + std::to_string(getpid()));
  ServerOptions options;
  std::optional<Server> server;
};

TEST_F(TlsTest, Answers) {
  start();
  ask();
  EXPECT_THROW(testing_support::http(server->port(), "/healthz"), boost::system::system_error);
}

TEST_F(TlsTest, StallsInTheHandshakeAreBounded) {
  options.request_timeout = 200;  // nothing else cuts them
  start();
  net::io_context io;
  std::vector<net::ip::tcp::socket> crowd;
  for (int i = 0; i < 800; ++i) {
    crowd.push_back(connect(io, server->port()));
    net::write(crowd.back(), net::buffer("\x16\x03\x01\x02", 4));
  }
  ask();
  // The oldest had to go: 512 may wait.
  const Stopwatch watch;
  boost::system::error_code error;
  char byte = 0;
  crowd.front().read_some(net::buffer(&byte, 1), error);
  EXPECT_TRUE(error);
  EXPECT_LT(watch.seconds(), 100);
}

TEST_F(TlsTest, StoppingDoesNotWaitForHandshakes) {
  options.request_timeout = 60;
  start();
  net::io_context io;
  auto stalled = connect(io, server->port());
  ask();  // so the other one has been accepted
  const Stopwatch watch;
  server->stop();
  server->wait();
  EXPECT_LT(watch.seconds(), 20);
}

TEST_F(TlsTest, ForeignKeysAreRefused) {
  write_key(make_key().get(), options.private_key);
  try {
    start();
    ADD_FAILURE() << "a key that is not the certificate's was taken";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("key values mismatch"), std::string::npos) << e.what();
  }
  options.certificate = "/nowhere.pem";
  EXPECT_THROW(start(), Error);
}

}  // namespace
}  // namespace tendon::server
