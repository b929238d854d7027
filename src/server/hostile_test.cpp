// Clients that stall, lie, flood or die: each harms nobody else.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <thread>

#include "base/clock.h"
#include "server/server.h"
#include "tests/support/policy_client.h"

namespace tendon::server {
namespace {

namespace net = testing_support::net;
namespace beast = testing_support::beast;
using testing_support::connect;
using testing_support::http;
using testing_support::PolicyClient;

// Takes a state of one number; sleeps as long as told.
class Echo final : public Inference {
 public:
  explicit Echo(std::atomic<int>& sleep_ms) : sleep_ms_(sleep_ms) {
    info_.inputs = {{.key = "state", .slot = {}, .size = 1}};
    info_.state_size = info_.horizon = info_.width = 1;
    info_.needs_prompt = false;
    info_.metadata_json = "{}";
  }
  const PolicyInfo& info() const override { return info_; }
  Status infer(const Observation& seen, const InferOptions&, Chunk& chunk) noexcept override {
    std::this_thread::sleep_for(std::chrono::milliseconds(sleep_ms_));
    chunk.horizon = chunk.width = 1;
    chunk.actions = seen.state[0].values;
    return {};
  }

 private:
  std::atomic<int>& sleep_ms_;
  PolicyInfo info_;
};

std::string request() {
  wire::Encoder out;
  return out.map(1).text("state").real(0.5).str();
}

class HostileTest : public ::testing::Test {
 protected:
  HostileTest() { options.port = 0; }
  void start() {
    server.emplace(
        options, std::vector<Offer>{{"echo", [this] { return std::make_unique<Echo>(sleep_ms); }}});
    server->start();
    victim.emplace(server->port());
    victim->receive();
  }
  void TearDown() override {
    expect_served();
    PolicyClient other(server->port());  // and so is somebody new
    other.receive();
    other.ask(request());
    EXPECT_FALSE(other.text());
  }
  // The client that was there all along.
  double expect_served() {
    const Stopwatch watch;
    victim->ask(request());
    EXPECT_FALSE(victim->text());
    return watch.seconds() * 1e3;
  }
  // A websocket of which the frames are written by hand.
  net::ip::tcp::socket raw_session(net::io_context& io) {
    net::ip::tcp::socket socket = connect(io, server->port());
    const std::string upgrade =
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    net::write(socket, net::buffer(upgrade));
    std::string head;
    char c = 0;
    while (!head.ends_with("\r\n\r\n")) {
      net::read(socket, net::buffer(&c, 1));
      head += c;
    }
    EXPECT_TRUE(head.starts_with("HTTP/1.1 101"));
    return socket;
  }
  // Everything until the server hangs up; the close code of a close frame at its end, or 0.
  static int end_of(net::ip::tcp::socket& socket) {
    std::string bytes(1 << 16, '\0');
    boost::system::error_code error;
    bytes.resize(net::read(socket, net::buffer(bytes), error));
    const std::size_t frame = bytes.rfind('\x88');
    if (frame == std::string::npos || frame + 4 > bytes.size()) return 0;
    return static_cast<unsigned char>(bytes[frame + 2]) << 8 |
           static_cast<unsigned char>(bytes[frame + 3]);
  }
  std::uint64_t resident() {
    const std::string text = http(server->port(), "/metrics").body;
    return std::stoull(text.substr(text.find("\nprocess_resident_memory_bytes ") + 31));
  }

  std::atomic<int> sleep_ms{0};
  ServerOptions options;
  std::optional<Server> server;
  std::optional<PolicyClient> victim;
};

TEST_F(HostileTest, StallsInTheMiddleOfAFrame) {
  options.message_timeout = 2;
  start();
  net::io_context io;
  auto socket = raw_session(io);
  // A masked binary frame of 1000 bytes of which ten come.
  net::write(socket, net::buffer(std::string("\x82\xfe\x03\xe8\0\0\0\0"
                                             "0123456789",
                                             18)));
  const Stopwatch watch;
  EXPECT_LT(expect_served(), 1500);  // long before the other one is given up
  end_of(socket);
  EXPECT_LT(watch.seconds(), 20);
}

TEST_F(HostileTest, StallsInTheMiddleOfARequestLine) {
  options.request_timeout = 2;
  start();
  net::io_context io;
  auto socket = connect(io, server->port());
  net::write(socket, net::buffer(std::string("GET /heal")));
  EXPECT_LT(expect_served(), 1500);  // long before the other one is given up
  const Stopwatch watch;
  end_of(socket);
  EXPECT_LT(watch.seconds(), 20);
}

TEST_F(HostileTest, SendsGarbageInFrames) {
  start();
  for (const char* garbage : {"", "\xc1", "hello", "\xdf\xff\xff\xff\xff", "\x81\xa1"}) {
    PolicyClient client(server->port());
    client.receive();
    EXPECT_NE(client.ask(garbage).find("bad_encoding"), std::string::npos);
    EXPECT_TRUE(client.text());
    EXPECT_EQ(client.close_code(), 1011);
  }
}

TEST_F(HostileTest, SendsATextFrame) {
  start();
  PolicyClient client(server->port());
  client.receive();
  client.stream().text(true);
  EXPECT_NE(client.ask("{\"prompt\": 1}").find("binary frame"), std::string::npos);
  EXPECT_EQ(client.close_code(), 1011);
}

TEST_F(HostileTest, SendsGarbageInsteadOfHttp) {
  start();
  net::io_context io;
  for (const std::string& garbage :
       {std::string("\x16\x03\x01\x02\0\x01", 6), std::string(40000, 'a'),
        std::string("GET / HTTP/9.9\r\n\r\n"), "GET / HTTP/1.1\r\nX: " + std::string(20000, 'b')}) {
    auto socket = connect(io, server->port());
    boost::system::error_code ignored;
    net::write(socket, net::buffer(garbage), ignored);
    socket.shutdown(net::ip::tcp::socket::shutdown_send, ignored);
    end_of(socket);
  }
}

TEST_F(HostileTest, BreaksTheRulesOfFrames) {
  start();
  net::io_context io;
  auto unmasked = raw_session(io);
  net::write(unmasked, net::buffer(std::string("\x82\x01\x80", 3)));
  EXPECT_EQ(end_of(unmasked), 1002);
  auto opcode = raw_session(io);
  net::write(opcode, net::buffer(std::string("\x83\x81\0\0\0\0\x80", 7)));
  EXPECT_EQ(end_of(opcode), 1002);
}

TEST_F(HostileTest, AnnouncesMoreThanItMay) {
  options.max_message = 1 << 20;
  start();
  net::io_context io;
  auto socket = raw_session(io);
  net::write(socket, net::buffer(std::string("\x82\xff\0\0\0\1\0\0\0\0\0\0\0\0", 14)));
  EXPECT_EQ(end_of(socket), 1009);
}

TEST_F(HostileTest, AnnouncesAndDoesNotSend) {
  start();
  const std::uint64_t before = resident();
  net::io_context io;
  std::vector<net::ip::tcp::socket> sockets;
  for (int i = 0; i < 6; ++i) {
    sockets.push_back(raw_session(io));  // 60 MiB each, allowed, of which one byte comes
    net::write(sockets.back(),
               net::buffer(std::string("\x82\xff\0\0\0\0\x03\xc0\0\0\0\0\0\0x", 15)));
  }
  expect_served();
  EXPECT_LT(resident(), before + (16u << 20));
}

TEST_F(HostileTest, SendsAMessageInPieces) {
  start();
  PolicyClient client(server->port());
  client.receive();
  client.stream().auto_fragment(true);
  client.stream().write_buffer_bytes(16);
  client.ask(request());
  EXPECT_FALSE(client.text());
}

TEST_F(HostileTest, OpensAThousandConnections) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  start();
  net::io_context io;
  std::vector<net::ip::tcp::socket> crowd;
  for (int i = 0; i < 1000; ++i) {
    crowd.push_back(connect(io, server->port()));
    if (i % 100 == 99) {
      EXPECT_LT(expect_served(), 1000);
    }
  }
  EXPECT_EQ(http(server->port(), "/healthz").body, "OK\n");  // nobody has to wait for them to go
  PolicyClient client(server->port());
  client.receive();
  client.ask(request());
}

TEST_F(HostileTest, OpensMoreSessionsThanThereArePlaces) {
  options.max_connections = 3;
  start();
  {
    PolicyClient second(server->port()), third(server->port());
    const auto refused = http(server->port(), "/readyz");
    EXPECT_EQ(refused.status, 200);
    try {
      PolicyClient fourth(server->port());
      ADD_FAILURE() << "a fourth client of three";
    } catch (const boost::system::system_error& e) {
      EXPECT_EQ(e.code(), beast::websocket::error::upgrade_declined);
    }
    second.receive();
    second.ask(request());
    third.close();
    second.close();
  }
  while (http(server->port(), "/metrics").body.find("tendon_sessions 1\n") == std::string::npos) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

TEST_F(HostileTest, DiesWithARequestUnderWayAndAnotherWaiting) {
  sleep_ms = 200;
  start();
  for (int i = 0; i < 3; ++i) {
    net::io_context io;
    auto socket = std::make_unique<PolicyClient>(server->port());
    socket->receive();
    socket->send(request());
    socket->send(request());
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    net::socket_base::linger reset(true, 0);
    socket->stream().next_layer().set_option(reset);  // the connection is reset, not closed
    socket.reset();
  }
  EXPECT_LT(expect_served(), 2000);
}

// Asks and asks without reading: by and by its writes block, then it is cut.
class DeafTest : public HostileTest {
 protected:
  // Requests that it could send.
  int ask_until_cut(const std::string& bytes) {
    options.message_timeout = 2;
    options.ping_interval = 0;  // nothing else cuts it
    start();
    PolicyClient client(server->port());
    client.receive();
    boost::system::error_code error;
    const Stopwatch watch;
    int sent = 0;
    for (; !error && watch.seconds() < 90; ++sent) client.stream().write(net::buffer(bytes), error);
    EXPECT_TRUE(error) << "still there after 90 s";
    expect_served();
    return sent;
  }
};

TEST_F(DeafTest, NeverReadsItsChunks) { ask_until_cut(request()); }

// What is answered at once must not pile up either. The kernel holds some thousand of these
// requests and of their answers, which name the keys.
TEST_F(DeafTest, NeverReadsWhatIsAnsweredAtOnce) {
  wire::Encoder out;
  out.map(9).text("ext").map(1).text("errors").boolean(true);
  for (char key = 'a'; key < 'i'; ++key) out.text(std::string(250, key)).nil();
  EXPECT_LT(ask_until_cut(out.str()), 6000);
}

TEST_F(HostileTest, NeverAnswersPings) {
  options.ping_interval = 0.3;
  options.pong_timeout = 2;
  start();
  net::io_context io;
  auto socket = raw_session(io);
  const Stopwatch watch;
  boost::system::error_code error;
  victim->stream().control_callback({});
  std::string bytes(1 << 16, '\0');
  net::read(socket, net::buffer(bytes), error);  // pings, until the server gives up
  EXPECT_LT(watch.seconds(), 20);
  EXPECT_GT(watch.seconds(), 1.5);
  victim.emplace(server->port());  // it did not read, so it did not answer either
  victim->receive();
}

}  // namespace
}  // namespace tendon::server
