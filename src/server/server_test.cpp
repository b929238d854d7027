// The server around a policy that is a few lines: it sleeps, refuses or answers.
#include "server/server.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/steady_timer.hpp>
#include <cstring>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "server/service.h"
#include "tests/support/policy_client.h"
#include "wire/ndarray.h"

namespace tendon::server {
namespace {

namespace net = testing_support::net;
namespace beast = testing_support::beast;
using ErrorCode = boost::system::error_code;
using testing_support::http;
using testing_support::PolicyClient;
using testing_support::Reply;

// What the sleeping policy does, set by tests while it runs.
struct Script {
  std::atomic<int> sleep_ms{0}, load_ms{0}, calls{0};
  std::atomic<bool> refuse{false}, healthy{true}, fail_load{false};
};

// Takes one picture and three numbers. Its chunk is [seed, state[0], first byte of the picture].
class SleepingPolicy final : public Inference {
 public:
  explicit SleepingPolicy(Script& script) : script_(script) {
    std::this_thread::sleep_for(std::chrono::milliseconds(script.load_ms));
    require(!script.fail_load, "weights: none are there");
    info_.contract = "three_numbers";
    info_.family = "sleeper";
    info_.inputs = {{.key = "observation/image", .slot = "base"},
                    {.key = "observation/state", .slot = {}, .size = 3}};
    info_.state_size = 3;
    info_.horizon = 2;
    info_.width = 3;
    info_.metadata_json = R"({"reset_pose": [0, -1.5]})";
  }
  const PolicyInfo& info() const override { return info_; }
  Status infer(const Observation& seen, const InferOptions& options,
               Chunk& chunk) noexcept override {
    ++script_.calls;
    std::this_thread::sleep_for(std::chrono::milliseconds(script_.sleep_ms));
    if (script_.refuse) return Status("the prompt has 500 tokens, 48 are taken");
    chunk.horizon = 2;
    chunk.width = 3;
    chunk.actions.assign(6, 0.0);
    chunk.actions[0] = static_cast<double>(options.seed.value_or(0));
    chunk.actions[1] = seen.state[0].values[0];
    chunk.actions[2] = seen.cameras[0].image.data[0];
    chunk.timing = {{"preprocess", 1e-3}, {"vision", 2e-3}, {"postprocess", 1e-4}};
    return {};
  }
  bool healthy() noexcept override { return script_.healthy; }

 private:
  Script& script_;
  PolicyInfo info_;
};

struct Scene {
  double state = 0;
  int side = 8;
  std::uint8_t colour = 7;
  std::string prompt_key = "prompt";
};

// Entries beyond the four of the scene may follow: `extra` says how many.
void put_scene(const Scene& scene, std::uint32_t extra, wire::Encoder& out) {
  const std::string pixels(static_cast<std::size_t>(scene.side * scene.side * 3),
                           static_cast<char>(scene.colour));
  const std::int64_t size[] = {scene.side, scene.side, 3}, three[] = {3};
  const double state[] = {scene.state, 2, 3};
  out.map(3 + extra).text("observation/image").ndarray("|u1", size, pixels);
  out.text("observation/state").ndarray(ArrayType::f64, three, state);
  out.text(scene.prompt_key).text("pick");
}

std::string request(const Scene& scene = {}) {
  wire::Encoder out;
  put_scene(scene, 0, out);
  return out.str();
}

std::string reset_request(std::int64_t seed) {
  wire::Encoder out;
  return out.map(2).text("reset").boolean(true).text("seed").integer(seed).str();
}

std::vector<float> actions(const Reply& reply, std::string_view key = "actions") {
  const wire::Node* node = reply.find(key);
  if (node == nullptr) return {};
  const auto array = wire::as_ndarray(reply.message(), *node);
  std::vector<float> values(array->data.size() / sizeof(float));
  std::memcpy(values.data(), array->data.data(), array->data.size());
  return values;
}

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() { options.port = 0; }
  void start(int policies = 1) {
    std::vector<Offer> offers;
    for (int i = 0; i < policies; ++i) {
      offers.push_back({i == 0 ? "first" : "second",
                        [this, i] { return std::make_unique<SleepingPolicy>(scripts[i]); }});
    }
    server.emplace(options, std::move(offers));
    server->start();
  }
  std::uint16_t port() const { return server->port(); }
  void wait_ready() {
    while (server->loading()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  // That another client is served, and in what time.
  double round_trip_ms() {
    PolicyClient client(port());
    client.receive();
    const Stopwatch watch;
    const Reply reply(client.ask(request()));
    EXPECT_EQ(actions(reply).size(), 6u);
    const double ms = watch.seconds() * 1e3;
    client.close();
    return ms;
  }
  std::uint64_t metric(const std::string& line) {
    const std::string text = http(port(), "/metrics").body;
    const std::size_t at = text.find("\n" + line + " ");
    return at == std::string::npos ? 0 : std::stoull(text.substr(at + line.size() + 2));
  }

  Script scripts[2];
  Script& script = scripts[0];
  ServerOptions options;
  std::optional<Server> server;
};

TEST_F(ServerTest, MetadataComesFirstThenOneReplyForEachRequest) {
  start();
  PolicyClient client(port());
  const Reply metadata(client.receive());
  EXPECT_FALSE(client.text());
  EXPECT_NE(metadata.find("reset_pose"), nullptr);
  EXPECT_EQ(metadata.find("server", "contract")->view, "three_numbers");
  EXPECT_EQ(metadata.find("server", "action_horizon")->integer, 2);
  const Reply first(client.ask(request({.state = 5, .colour = 9})));
  EXPECT_EQ(actions(first)[1], 5);
  EXPECT_EQ(actions(first)[2], 9);
  EXPECT_EQ(first.find("server_timing", "prev_total_ms"), nullptr);
  EXPECT_GT(first.number("server_timing", "infer_ms"), 0);
  EXPECT_NEAR(first.number("policy_timing", "infer_ms"), 2.0, 1e-9);
  for (const char* key :
       {"queue_ms", "decode_ms", "preprocess_ms", "vision_ms", "post_ms", "total_ms"}) {
    EXPECT_GE(first.number("server_timing", key), 0) << key;
  }
  const Reply second(client.ask(request()));
  EXPECT_GT(second.number("server_timing", "prev_total_ms"), 0);
  client.close();
}

TEST_F(ServerTest, SeedsAreASeriesOfTheSessionAlone) {
  options.seed = 11;
  start();
  const auto series = [&](PolicyClient& client, int n) {
    std::vector<float> seeds;
    for (int i = 0; i < n; ++i) seeds.push_back(actions(Reply(client.ask(request())))[0]);
    return seeds;
  };
  PolicyClient a(port()), b(port());
  a.receive();
  b.receive();
  const std::vector<float> first = series(a, 3);
  EXPECT_EQ(first[0], 11);
  EXPECT_NE(first[1], first[0]);
  EXPECT_EQ(series(b, 3), first);
  const Reply reset(a.ask(reset_request(21)));
  EXPECT_EQ(reset.find("reset")->integer, 1);
  EXPECT_NE(reset.find("server_timing"), nullptr);
  EXPECT_EQ(series(a, 1)[0], 21);
  wire::Encoder again;
  a.ask(again.map(1).text("endpoint").text("reset").str());
  EXPECT_EQ(series(a, 3), first);
}

TEST_F(ServerTest, PingsAreAnsweredWhileThePolicyThinks) {
  script.sleep_ms = 2000;
  start();
  PolicyClient client(port());
  client.receive();
  std::int64_t sent = 0;
  int pongs = 0, late = 0;
  auto& ws = client.stream();
  ws.control_callback([&](beast::websocket::frame_type kind, beast::string_view) {
    if (kind != beast::websocket::frame_type::pong) return;
    late += static_cast<double>(now_ns() - sent) * 1e-6 > 50;
    ++pongs;
  });
  client.send(request());
  beast::flat_buffer buffer;
  net::steady_timer timer(ws.get_executor());
  bool answered = false;
  ws.async_read(buffer, [&](ErrorCode error, std::size_t) { answered = !error; });
  std::function<void()> ping = [&] {
    if (answered) return;
    sent = now_ns();
    ws.async_ping({}, [&](ErrorCode) {
      timer.expires_after(std::chrono::milliseconds(50));
      timer.async_wait([&](ErrorCode) { ping(); });
    });
  };
  ping();
  static_cast<net::io_context&>(ws.get_executor().context()).run();
  EXPECT_TRUE(answered);
  EXPECT_GE(pongs, 15);
  EXPECT_LE(late, pongs / 10);  // of a busy machine
}

TEST_F(ServerTest, HealthIsAnsweredWhileLoadingAndThinking) {
  script.load_ms = 300;
  script.sleep_ms = 1000;
  start();
  const auto healthz = [&] {
    const Stopwatch watch;
    const auto reply = http(port(), "/healthz");
    EXPECT_EQ(reply.body, "OK\n");
    EXPECT_EQ(reply.head[beast::http::field::content_type], "text/plain; charset=utf-8");
    EXPECT_EQ(reply.head[beast::http::field::content_length], "3");
    EXPECT_FALSE(reply.head.keep_alive());
    return watch.seconds() * 1e3;
  };
  std::vector<double> times{healthz()};
  EXPECT_EQ(http(port(), "/readyz").status, 503);
  EXPECT_EQ(http(port(), "/readyz").body, "first: loading\n");
  PolicyClient client(port());  // before the policy is there: it waits for its metadata
  client.receive();
  EXPECT_EQ(http(port(), "/readyz").status, 200);
  client.send(request());
  for (int i = 0; i < 20; ++i) times.push_back(healthz());
  client.receive();
  std::sort(times.begin(), times.end());
  EXPECT_LT(times[times.size() / 2], 300);  // the median: the machine may be busy
}

TEST_F(ServerTest, PlainRequestsThatAreNotForIt) {
  start();
  EXPECT_EQ(http(port(), "/some/where").status, 426);
  EXPECT_EQ(http(port(), "/", {}, beast::http::verb::post).status, 405);
  const auto head = http(port(), "/healthz", {}, beast::http::verb::head);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.head[beast::http::field::content_length], "3");
  EXPECT_EQ(head.body, "");
  EXPECT_NE(http(port(), "/").body.find("<title>tendon"), std::string::npos);
  EXPECT_EQ(http(port(), "/live.css").head[beast::http::field::content_type],
            "text/css; charset=utf-8");
  EXPECT_EQ(http(port(), "/live/picture/first/0").status, 404);
}

TEST_F(ServerTest, TheLivePageShowsTheNewestPicturesAndChunk) {
  start();
  wait_ready();
  http(port(), "/live.json");  // someone watches
  PolicyClient client(port());
  client.receive();
  client.ask(request({.state = 4, .side = 6, .colour = 200}));
  const auto live = nlohmann::json::parse(http(port(), "/live.json").body);
  const auto& policy = live["policies"][0];
  EXPECT_EQ(policy["chunk"]["actions"][1], 4);
  EXPECT_EQ(policy["samples"].size(), 1u);
  EXPECT_EQ(policy["pictures"][0]["camera"], "observation/image");
  EXPECT_EQ(policy["loaded"]["contract"], "three_numbers");
  const std::string picture = http(port(), "/live/picture/first/0").body;
  EXPECT_EQ(picture, "P6\n6 6\n255\n" + std::string(108, '\xc8'));
  EXPECT_EQ(metric("tendon_requests_total{policy=\"first\",outcome=\"ok\"}"), 1u);
  EXPECT_EQ(metric("tendon_stage_seconds_count{policy=\"first\",stage=\"vision\"}"), 1u);
}

TEST_F(ServerTest, KeysAreWantedBeforeTheUpgrade) {
  options.keys = wire::KeyRing::from_text("secret", "test");
  start();
  wait_ready();
  try {
    PolicyClient client(port());
    ADD_FAILURE() << "entered without a key";
  } catch (const boost::system::system_error& e) {
    EXPECT_EQ(e.code(), beast::websocket::error::upgrade_declined);
  }
  EXPECT_EQ(http(port(), "/metrics").status, 401);
  EXPECT_EQ(http(port(), "/metrics", "Bearer secret").status, 200);
  EXPECT_EQ(http(port(), "/healthz").status, 200);
  PolicyClient client(port(), "/", "Api-Key secret");
  client.receive();
  client.ask(request());
}

TEST_F(ServerTest, SeveralPolicies) {
  scripts[1].refuse = true;
  start(2);
  PolicyClient first(port()), second(port(), "/v1/policies/second");
  EXPECT_EQ(Reply(first.receive()).find("server", "policy")->view, "first");
  EXPECT_EQ(Reply(second.receive()).find("server", "policy")->view, "second");
  first.ask(request());
  EXPECT_NE(second.ask(request()).find("500 tokens"), std::string::npos);
  EXPECT_THROW(PolicyClient(port(), "/v1/policies/third"), boost::system::system_error);
}

TEST_F(ServerTest, ABadObservationIsSaidAndEndsTheSession) {
  start();
  PolicyClient client(port());
  client.receive();
  wire::Encoder out;
  const std::string reply = client.ask(out.map(1).text("prompt").text("x").str());
  EXPECT_TRUE(client.text());
  const auto error = nlohmann::json::parse(reply)["error"];
  EXPECT_EQ(error["code"], "bad_observation");
  EXPECT_EQ(error["message"],
            "the observation lacks observation/image, observation/state; it has prompt");
  EXPECT_EQ(client.close_code(), 1011);
  round_trip_ms();
}

TEST_F(ServerTest, AClientMayAskForErrorsThatDoNotEndIt) {
  start();
  PolicyClient client(port());
  client.receive();
  wire::Encoder out;
  out.map(2).text("prompt").text("x").text("ext").map(1).text("errors").boolean(true);
  const Reply reply(client.ask(out.str()));
  EXPECT_FALSE(client.text());
  EXPECT_EQ(reply.find("error", "code")->view, "bad_observation");
  EXPECT_EQ(actions(Reply(client.ask(request()))).size(), 6u);
}

TEST_F(ServerTest, OverridesStrictInputsAndForeignWeightsAreRefused) {
  options.unknown = ServerOptions::Unknown::refuse;
  start();
  const auto refusal = [&](auto put) {
    PolicyClient client(port());
    client.receive();
    wire::Encoder out;
    put_scene({}, 1, out);
    put(out);
    const std::string reply = client.ask(out.str());
    EXPECT_TRUE(client.text());
    return reply;
  };
  EXPECT_NE(refusal([](auto& o) { o.text("seed").integer(3); }).find("--allow-overrides"),
            std::string::npos);
  EXPECT_NE(refusal([](auto& o) { o.text("depth").integer(3); }).find("does not take depth"),
            std::string::npos);
  EXPECT_NE(refusal([](auto& o) { o.text("rtc").map(1).text("mode").text("guided"); }).find("rtc"),
            std::string::npos);
  PolicyClient client(port());
  client.receive();
  wire::Encoder out;
  out.map(3).text("reset").boolean(true).text("robo_name").text("r");
  out.text("path_to_pi_model").text("/etc/passwd");
  EXPECT_NE(client.ask(out.str()).find("path_to_pi_model"), std::string::npos);
}

TEST_F(ServerTest, TheDialectThatSaysActionAndTask) {
  start();
  PolicyClient client(port());
  client.receive();
  wire::Encoder out;
  const Reply reset(
      client.ask(out.map(2).text("reset").boolean(true).text("robo_name").text("arm").str()));
  EXPECT_EQ(reset.find("action")->kind, wire::Node::Kind::nil);
  const Reply reply(client.ask(request({.state = 8, .prompt_key = "task"})));
  EXPECT_EQ(actions(reply, "action")[1], 8);
  EXPECT_EQ(reply.find("policy_timing"), nullptr);
  EXPECT_NE(reply.find("server_timing"), nullptr);
}

TEST_F(ServerTest, LatestKeepsTheNewestOfAClientThatDoesNotWait) {
  script.sleep_ms = 500;
  start();
  PolicyClient eager(port()), patient(port());
  eager.receive();
  patient.receive();
  eager.send(request({.state = 0}));
  while (script.calls == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  for (int i = 1; i < 5; ++i) eager.send(request({.state = static_cast<double>(i)}));
  EXPECT_EQ(actions(Reply(eager.receive()))[1], 0);
  EXPECT_EQ(actions(Reply(eager.receive()))[1], 4);
  EXPECT_EQ(metric("tendon_requests_total{policy=\"first\",outcome=\"replaced\"}"), 3u);
  EXPECT_EQ(actions(Reply(patient.ask(request({.state = 6}))))[1], 6);
}

TEST_F(ServerTest, FifoAnswersEverything) {
  options.queue.mode = QueueMode::fifo;
  script.sleep_ms = 20;
  start();
  PolicyClient client(port());
  client.receive();
  for (int i = 0; i < 6; ++i) client.send(request({.state = static_cast<double>(i)}));
  for (int i = 0; i < 6; ++i) EXPECT_EQ(actions(Reply(client.receive()))[1], i);
}

TEST_F(ServerTest, RejectSaysBusyAndKeepsTheSession) {
  options.queue.mode = QueueMode::reject;
  script.sleep_ms = 300;
  start();
  PolicyClient a(port()), b(port());
  a.receive();
  b.receive();
  a.send(request());
  while (script.calls == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_NE(b.ask(request()).find("\"busy\""), std::string::npos);
  a.receive();
  EXPECT_EQ(actions(Reply(b.ask(request()))).size(), 6u);
}

TEST_F(ServerTest, StoppingFinishesTheRequestUnderWay) {
  script.sleep_ms = 300;
  start();
  PolicyClient busy(port()), idle(port());
  busy.receive();
  idle.receive();
  busy.send(request({.state = 3}));
  while (script.calls == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  server->stop();
  EXPECT_EQ(idle.close_code(), 1001);
  EXPECT_EQ(actions(Reply(busy.receive()))[1], 3);
  EXPECT_EQ(busy.close_code(), 1001);
  server->wait();
  EXPECT_THROW(http(port(), "/healthz"), boost::system::system_error);
}

TEST_F(ServerTest, APolicyThatCannotBeLoaded) {
  script.fail_load = true;
  start();
  PolicyClient client(port());
  EXPECT_NE(client.receive().find("weights: none are there"), std::string::npos);
  EXPECT_EQ(client.close_code(), 1011);
  EXPECT_EQ(http(port(), "/readyz").status, 503);
  EXPECT_EQ(server->failure(), "first: weights: none are there");
}

TEST_F(ServerTest, AFailedDeviceIsToldFromABadRequest) {
  start();
  script.refuse = true;
  PolicyClient first(port());
  first.receive();
  EXPECT_NE(first.ask(request()).find("bad_observation"), std::string::npos);
  EXPECT_EQ(http(port(), "/readyz").status, 200);
  script.healthy = false;
  PolicyClient second(port());
  second.receive();
  EXPECT_NE(second.ask(request()).find("engine_failed"), std::string::npos);
  EXPECT_EQ(second.close_code(), 1011);
  EXPECT_EQ(http(port(), "/readyz").status, 503);
}

}  // namespace
}  // namespace tendon::server
