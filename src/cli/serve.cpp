#include <fmt/core.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>

#include "base/error.h"
#include "base/file.h"
#include "cli/command.h"
#include "cli/common.h"
#include "server/server.h"

namespace tendon::cli {
namespace {

using server::QueueMode;
using server::ServerOptions;

struct Options {
  LoadFlags load;
  std::vector<std::string> models;
  ServerOptions server;
  std::string key_file;
  double max_message_mib = 64;
  bool strict_inputs = false, allow_overrides = false, listen_late = false, f64 = false;
  bool exit_on_fault = false;
};

// "NAME=MODEL", or MODEL, whose name is its last part.
server::Offer offer(const std::string& text, const LoadOptions& options) {
  const std::size_t at = text.find('=');
  const bool named = at != std::string::npos && text.substr(0, at).find('/') == std::string::npos;
  const std::filesystem::path path = named ? text.substr(at + 1) : text;
  const auto last = path.has_filename() ? path : path.parent_path();
  return {named ? text.substr(0, at) : last.stem().string(),
          server::load_policy(path.string(), options)};
}

// Signals that end the server; blocked before any thread begins, so that only wait_for_end sees
// them.
sigset_t end_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

// Whether a signal came within a moment.
bool asked_to_end(const sigset_t& signals) {
  const timespec moment{0, 100'000'000};
  return sigtimedwait(&signals, nullptr, &moment) > 0;
}

// False: a signal came first.
bool wait_for_load(const server::Server& server, const sigset_t& signals) {
  while (server.loading()) {
    if (asked_to_end(signals)) return false;
  }
  require(server.failure().empty(), "{}", server.failure());
  return true;
}

// True: a signal came. False: a policy failed and the server is to end with it.
bool wait_for_end(const server::Server& server, const Options& o, const sigset_t& signals) {
  std::string told;
  while (!asked_to_end(signals)) {
    const std::string failure = server.failure();
    if (failure.empty() || failure == told) continue;
    if (o.exit_on_fault) return false;
    fmt::print(stderr, "tendon: {}; /readyz answers 503\n", failure);
    told = failure;
  }
  return true;
}

void print_start(const server::Server& server, const Options& o, const std::string& names) {
  const bool tls = !o.server.certificate.empty();
  const std::string address = fmt::format("{}:{}", o.server.host, server.port());
  fmt::print("policies   {}\n", names);
  fmt::print("robots     {}://{}\n", tls ? "wss" : "ws", address);
  fmt::print("live page  {}://{}/\n", tls ? "https" : "http", address);
  const bool local =
      o.server.host == "127.0.0.1" || o.server.host == "::1" || o.server.host == "localhost";
  if (!local && (o.server.keys.empty() || !tls)) {
    fmt::print(stderr,
               "tendon: other machines reach this server{}{}: consider --api-key-file and "
               "--tls-certificate\n",
               o.server.keys.empty() ? " without a key" : "", tls ? "" : ", unencrypted");
  }
  std::fflush(stdout);
}

void finish_options(Options& o) {
  o.server.max_message = static_cast<std::size_t>(o.max_message_mib * 1048576.0);
  if (!o.key_file.empty()) {
    o.server.keys = wire::KeyRing::from_text(read_file(o.key_file), o.key_file);
  }
  require(o.server.certificate.empty() == o.server.private_key.empty(),
          "--tls-certificate and --tls-key belong together");
  if (o.strict_inputs) o.server.unknown = ServerOptions::Unknown::refuse;
  if (o.allow_overrides) o.server.overrides = ServerOptions::Overrides::allow;
  if (o.listen_late) o.server.listen = ServerOptions::Listen::when_ready;
  if (o.f64) o.server.actions = ArrayType::f64;
}

void serve(Options& o) {
  finish_options(o);
  const sigset_t signals = end_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::vector<server::Offer> offers;
  std::string names;
  for (const std::string& model : o.models) {
    offers.push_back(offer(model, o.load.options));
    names += (names.empty() ? "" : ", ") + offers.back().name;
  }
  server::Server server(o.server, std::move(offers));
  server.start();
  if (server.port() != 0) print_start(server, o, names);
  if (!wait_for_load(server, signals)) {
    fmt::print("stopped while loading\n");
    std::fflush(stdout);
    std::_Exit(0);  // nothing is under way, and loading cannot be cut short
  }
  fmt::print("ready\n");
  std::fflush(stdout);
  const bool asked = wait_for_end(server, o, signals);
  if (asked) fmt::print("stopping: requests under way are finished\n");
  std::fflush(stdout);
  server.stop();
  server.wait();
  require(asked, "{}", server.failure());
  fmt::print("stopped\n");
}

void add_network_flags(CLI::App& command, Options& o) {
  ServerOptions& s = o.server;
  command.add_option("--host", s.host, "address to listen on; 0.0.0.0: every network");
  command.add_option("--port", s.port, "0: any free one");
  command.add_option("--api-key-file", o.key_file, "keys that clients must show, one a line");
  command.add_option("--tls-certificate", s.certificate, "PEM file; with it the server speaks TLS");
  command.add_option("--tls-key", s.private_key, "PEM file");
  command.add_flag("--listen-late", o.listen_late, "listen only when every policy is loaded");
  command.add_option("--max-connections", s.max_connections, "clients at a time");
  command.add_option("--max-message-mib", o.max_message_mib, "largest request")
      ->check(CLI::Range(0.01, 2048.0));
  command.add_option("--ping-interval", s.ping_interval, "seconds between pings; 0: none");
  command.add_option("--pong-timeout", s.pong_timeout, "seconds without an answer; 0: for ever");
  command.add_option("--message-timeout", s.message_timeout,
                     "seconds from a message's first byte to its last");
  command.add_option("--request-timeout", s.request_timeout, "seconds for an HTTP request");
  command.add_option("--stop-timeout", s.stop_timeout, "seconds for clients to leave at the end");
}

void add_policy_flags(CLI::App& command, Options& o) {
  ServerOptions& s = o.server;
  const std::map<std::string, QueueMode> modes{
      {"latest", QueueMode::latest}, {"fifo", QueueMode::fifo}, {"reject", QueueMode::reject}};
  command.add_option("--queue", s.queue.mode, "latest, fifo or reject")
      ->transform(CLI::CheckedTransformer(modes));
  command.add_option("--queue-depth", s.queue.depth, "requests that may wait for a policy");
  command.add_option("--seed", s.seed, "of every session's first request");
  command.add_flag("--allow-overrides", o.allow_overrides,
                   "take noise, seed and num_steps from requests");
  command.add_flag("--strict-inputs", o.strict_inputs, "refuse keys that the policy does not take");
  command.add_flag("--f64", o.f64, "send actions as float64");
  command.add_flag("--exit-on-fault", o.exit_on_fault, "end when a device fails");
}

}  // namespace

void add_serve(CLI::App& app, Context&) {
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("serve", "serve policies to robots (openpi websocket)");
  add_load_options(*command, o->load.options);
  command
      ->add_option("MODEL", o->models, "checkpoint, or NAME=checkpoint; the first is the default")
      ->required();
  add_network_flags(*command, *o);
  add_policy_flags(*command, *o);
  command->footer(
      "Example: tendon serve ~/models/pi05_libero --port 8000\n"
      "         tendon serve arm=~/models/pi05_droid sim=~/models/fastwam_libero --queue fifo");
  command->callback([o] { serve(*o); });
}

}  // namespace tendon::cli
