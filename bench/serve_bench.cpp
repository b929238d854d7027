// What the wire costs: the same policy asked in the process and over loopback, then by many clients
// at once. Figures by nearest rank; the policy's own time is measured inside each request.
#include <fmt/core.h>

#include <atomic>
#include <CLI/CLI.hpp>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "measure/timing.h"
#include "server/server.h"
#include "tests/support/policy_client.h"

namespace {

using namespace tendon;
using testing_support::PolicyClient;
using testing_support::Reply;

struct Options {
  std::string model;
  int requests = 2000, warm_up = 100, turn = 50, clients = 8, side = 224, threads = 1;
  double seconds = 10;
};

struct Scene {
  std::vector<std::uint8_t> pixels;
  Observation seen;
  std::string request;
};

Scene make_scene(const PolicyInfo& info, int side) {
  Scene scene;
  scene.pixels.resize(static_cast<std::size_t>(side) * static_cast<std::size_t>(side) * 3);
  for (std::size_t i = 0; i < scene.pixels.size(); ++i) {
    scene.pixels[i] = static_cast<std::uint8_t>(i % 251);
  }
  scene.seen.prompt = "put the bowl on the plate";
  wire::Encoder out;
  std::uint32_t entries = 1;
  for (const auto& input : info.inputs) entries += input.required;
  out.map(entries).text("prompt").text(scene.seen.prompt);
  for (const auto& input : info.inputs) {
    if (!input.required) continue;
    out.text(input.key);
    if (input.size > 0) {
      const std::vector<double> state(static_cast<std::size_t>(input.size), 0.1);
      const std::int64_t shape[] = {input.size};
      out.ndarray(ArrayType::f64, shape, state.data());
      scene.seen.state.push_back({input.key, state});
    } else {
      const std::int64_t shape[] = {side, side, 3};
      out.ndarray(ArrayType::u8, shape, scene.pixels.data());
      scene.seen.cameras.push_back({input.key, {scene.pixels.data(), side, side, 0}});
    }
  }
  scene.request = out.str();
  return scene;
}

void print(const char* name, const std::vector<double>& ms) {
  const measure::Percentiles f = measure::percentiles(ms);
  fmt::print("{:<34} n {:6}  p50 {:8.3f}  p90 {:8.3f}  p99 {:8.3f}  max {:8.3f} ms\n", name,
             f.count, f.p50, f.p90, f.p99, f.max);
}

// Asked in turns, so that a machine that is busy for a while slows both down.
struct Figures {
  std::vector<double> local, total, overhead;            // overhead: without the policy's own time
  std::vector<double> outside, decode, hand_over, rest;  // its parts
};

void ask_locally(const Options& o, Policy& policy, const Scene& scene, Figures& figures) {
  Chunk chunk;
  for (int i = 0; i < o.turn; ++i) {
    const Stopwatch watch;
    require(policy.infer(scene.seen, {}, chunk).ok(), "infer failed");
    figures.local.push_back(watch.seconds() * 1e3);
  }
}

void ask_server(const Options& o, PolicyClient& client, const Scene& scene, Figures& figures) {
  for (int i = 0; i < o.turn; ++i) {
    const Stopwatch watch;
    std::string bytes = client.ask(scene.request);
    const double ms = watch.seconds() * 1e3;
    const Reply reply(std::move(bytes));
    const auto timing = [&](const char* key) { return reply.number("server_timing", key); };
    const double server = timing("total_ms"), infer = timing("infer_ms");
    figures.total.push_back(ms);
    figures.overhead.push_back(ms - infer);
    figures.outside.push_back(ms - server);
    figures.decode.push_back(timing("decode_ms"));
    figures.hand_over.push_back(timing("queue_ms"));
    figures.rest.push_back(server - infer - timing("decode_ms") - timing("queue_ms"));
  }
}

void one(const Options& o, Policy& policy, std::uint16_t port, const Scene& scene) {
  PolicyClient client(port);
  client.receive();
  Figures figures;
  for (int done = 0; done < o.warm_up; done += o.turn) {
    ask_locally(o, policy, scene, figures);
    ask_server(o, client, scene, figures);
  }
  figures = {};
  for (int done = 0; done < o.requests; done += o.turn) {
    ask_locally(o, policy, scene, figures);
    ask_server(o, client, scene, figures);
  }
  print("in the process", figures.local);
  print("over the wire, client to client", figures.total);
  print("of which not the policy", figures.overhead);
  print("  sockets and client", figures.outside);
  print("  decode", figures.decode);
  print("  to the policy's thread", figures.hand_over);
  print("  back, and the reply", figures.rest);
}

void many(const Options& o, std::uint16_t port, const Scene& scene) {
  std::atomic<int> answered{0}, failed{0};
  std::vector<std::thread> threads;
  const Stopwatch watch;
  for (int c = 0; c < o.clients; ++c) {
    threads.emplace_back([&] {
      try {
        PolicyClient client(port);
        client.receive();
        while (watch.seconds() < o.seconds) {
          client.ask(scene.request);
          ++(client.text() ? failed : answered);
        }
      } catch (const std::exception&) {
        ++failed;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  fmt::print("{} clients: {:.1f} requests/s in {:.1f} s, {} answered, {} failed\n", o.clients,
             answered / watch.seconds(), watch.seconds(), answered.load(), failed.load());
}

void run(const Options& o) {
  LoadOptions load_options;
  load_options.threads = o.threads;
  Policy policy = load(o.model, load_options);
  const Scene scene = make_scene(policy.info(), o.side);
  fmt::print("{} on {}, policy on {} threads, {}x{} pictures, {} bytes a request\n",
             policy.info().contract, policy.info().device, o.threads, o.side, o.side,
             scene.request.size());
  server::ServerOptions options;
  options.port = 0;
  options.listen = server::ServerOptions::Listen::when_ready;
  options.max_connections = static_cast<std::size_t>(o.clients) + 1;
  server::Server server(options, {{"bench", server::load_policy(o.model, load_options)}});
  server.start();
  one(o, policy, server.port(), scene);
  many(o, server.port(), scene);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("latency and throughput of the server on loopback");
  Options o;
  app.add_option("MODEL", o.model, "checkpoint folder")->required();
  app.add_option("--requests", o.requests, "of one client");
  app.add_option("--clients", o.clients, "at once");
  app.add_option("--seconds", o.seconds, "for which they ask");
  app.add_option("--side", o.side, "of the pictures");
  app.add_option("--threads", o.threads, "CPU threads of the policy");
  CLI11_PARSE(app, argc, argv);
  try {
    run(o);
  } catch (const std::exception& e) {
    fmt::print(stderr, "serve_bench: {}\n", e.what());
    return 2;
  }
  return 0;
}
