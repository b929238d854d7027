#include "server/answers.h"

#include <fmt/core.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "server/page_files.h"

namespace tendon::server {
namespace {

using nlohmann::ordered_json;

std::string_view name(Worker::State state) {
  constexpr std::string_view kNames[] = {"loading", "ready", "failed", "stopped"};
  return kNames[static_cast<std::size_t>(state)];
}

std::size_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::size_t pages = 0, resident = 0;
  file >> pages >> resident;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

Answer readyz(Hub& hub) {
  for (const auto& service : hub.services) {
    const Worker::State state = service->worker.state();
    if (state == Worker::State::ready && !hub.stopping) continue;
    const std::string reason = service->worker.reason();
    return {
        .status = 503,
        .body = fmt::format("{}: {}{}{}\n", service->name, hub.stopping ? "stopping" : name(state),
                            reason.empty() ? "" : ": ", reason)};
  }
  return {.body = "ready\n"};
}

// Text inside a label's quotation marks.
std::string label(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

void write_server_metrics(const Hub& hub, std::string& out) {
  const HubCounters& c = hub.counters;
  const std::pair<const char*, std::uint64_t> rows[] = {
      {"# TYPE tendon_connections gauge\ntendon_connections", c.connections_now},
      {"# TYPE tendon_sessions gauge\ntendon_sessions", c.sessions_now},
      {"# TYPE tendon_connections_total counter\ntendon_connections_total", c.connections},
      {"# TYPE tendon_sessions_total counter\ntendon_sessions_total", c.sessions},
      {"# TYPE tendon_http_requests_total counter\ntendon_http_requests_total", c.http},
      {"# TYPE tendon_refused_total counter\ntendon_refused_total{reason=\"full\"}",
       c.refused_full},
      {"tendon_refused_total{reason=\"key\"}", c.refused_key},
      {"tendon_refused_total{reason=\"timeout\"}", c.cut},
      {"# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes",
       resident_bytes()}};
  for (const auto& [row, value] : rows) out += fmt::format("{} {}\n", row, value);
}

Answer metrics(const Hub& hub) {
  Answer a{.type = "text/plain; version=0.0.4; charset=utf-8"};
  std::string& out = a.body;
  out = fmt::format("# TYPE tendon_build_info gauge\ntendon_build_info{{version=\"{}\"}} 1\n",
                    version());
  write_server_metrics(hub, out);
  std::string ready_lines, waiting_lines, info_lines;
  for (const auto& service : hub.services) {
    const bool ready = service->worker.state() == Worker::State::ready;
    const std::string policy = label(service->name);
    ready_lines += fmt::format("tendon_ready{{policy=\"{}\"}} {}\n", policy, ready ? 1 : 0);
    waiting_lines += fmt::format("tendon_queue_waiting{{policy=\"{}\"}} {}\n", policy,
                                 service->worker.waiting());
    if (!ready) continue;
    const PolicyInfo& info = service->worker.info();
    info_lines += fmt::format(
        "tendon_policy_info{{policy=\"{}\",contract=\"{}\",model=\"{}\",precision=\"{}\","
        "device=\"{}\",weights=\"{}\"}} 1\n",
        policy, label(info.contract), label(info.family), label(info.dtype), label(info.device),
        label(info.weights_fingerprint));
  }
  out += "# TYPE tendon_ready gauge\n" + ready_lines;
  out += "# TYPE tendon_queue_waiting gauge\n" + waiting_lines;
  out += "# TYPE tendon_policy_info gauge\n" + info_lines;
  MetricsText text;
  for (const auto& service : hub.services) {
    service->board.write_metrics(label(service->name), text);
  }
  out += "# TYPE tendon_requests_total counter\n" + text.requests;
  out += "# TYPE tendon_stage_seconds histogram\n" + text.histograms;
  out += "# TYPE tendon_stage_latency_ms gauge\n" + text.quantiles;
  return a;
}

ordered_json loaded(const PolicyInfo& info) {
  return {{"contract", info.contract},
          {"family", info.family},
          {"device", info.device},
          {"precision", info.dtype},
          {"schedule", info.schedule},
          {"steps", info.default_steps},
          {"horizon", info.horizon},
          {"width", info.width},
          {"control_hz", info.control_hz},
          {"weights", info.weights_fingerprint},
          {"statistics_sha256", info.statistics_sha256},
          {"tokenizer_sha256", info.tokenizer_sha256},
          {"memory_bytes", info.weight_bytes + info.buffer_bytes + info.arena_bytes}};
}

Answer live(Hub& hub) {
  ordered_json all = {{"version", version()},
                      {"sessions", hub.counters.sessions_now.load()},
                      {"max_sessions", hub.options.max_connections},
                      {"resident_bytes", resident_bytes()},
                      {"policies", ordered_json::array()}};
  for (const auto& service : hub.services) {
    const Worker::State state = service->worker.state();
    ordered_json policy = service->board.live();
    policy["name"] = service->name;
    policy["state"] = name(state);
    policy["reason"] = service->worker.reason();
    policy["waiting"] = service->worker.waiting();
    if (state == Worker::State::ready) policy["loaded"] = loaded(service->worker.info());
    all["policies"].push_back(std::move(policy));
  }
  return {.type = "application/json",
          .body = all.dump(-1, ' ', false, ordered_json::error_handler_t::replace)};
}

Answer not_found() { return {.status = 404, .body = "there is nothing here (yet)\n"}; }

// "P6", so that height and width travel with the bytes.
Answer picture(Hub& hub, const wire::Route& route) {
  Service* service = hub.find(route.name);
  Thumbnail picture;
  if (service == nullptr ||
      !service->board.picture(static_cast<std::size_t>(route.index), picture)) {
    return not_found();
  }
  Answer a{.type = "image/x-portable-pixmap",
           .body = fmt::format("P6\n{} {}\n255\n", picture.width, picture.height)};
  a.body.append(picture.pixels.begin(), picture.pixels.end());
  return a;
}

Answer page(const std::string& name) {
  for (const PageFile& file : page_files()) {
    if (file.name != name) continue;
    const std::string type = name.ends_with(".js")    ? "text/javascript"
                             : name.ends_with(".css") ? "text/css"
                                                      : "text/html";
    return {.type = type + "; charset=utf-8", .body = std::string(file.content)};
  }
  return not_found();
}

}  // namespace

Answer answer(Hub& hub, const wire::Route& route) {
  switch (route.goal) {
    case wire::Goal::healthz:
      return {.body = "OK\n", .after = Answer::After::close};
    case wire::Goal::readyz:
      return readyz(hub);
    case wire::Goal::metrics:
      return metrics(hub);
    case wire::Goal::page:
      return page(route.name);
    case wire::Goal::live:
      return live(hub);
    case wire::Goal::picture:
      return picture(hub, route);
    case wire::Goal::session:
    case wire::Goal::refuse:
      break;
  }
  return {.status = route.status, .body = route.reason + "\n", .after = Answer::After::close};
}

}  // namespace tendon::server
