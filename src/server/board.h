// What a policy's service did lately: for /metrics and the live page.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "server/job.h"
#include "server/latency.h"
#include "wire/reply.h"

namespace tendon::server {

// How a request ended.
enum class Outcome : std::uint8_t {
  ok,
  bad_encoding,
  bad_observation,
  busy,
  replaced,
  engine_failed,
  dropped
};
inline constexpr std::size_t kOutcomes = 7;
std::string_view name(Outcome outcome);

// A small copy of a camera's picture, dense RGB.
struct Thumbnail {
  std::string camera;
  int height = 0, width = 0, full_height = 0, full_width = 0;
  std::vector<std::uint8_t> pixels;
};

// One chunk's stages in milliseconds.
struct StageSample {
  double at = 0;  // seconds of the monotonic clock
  std::vector<std::pair<std::string_view, double>> stages;
};

// Prometheus wants the lines of a metric in one group.
struct MetricsText {
  std::string requests, histograms, quantiles;
};

// Thread-safe.
class Board {
 public:
  void count(Outcome outcome);
  // Keeps the stages of a finished job and, while someone watches, its pictures. On the policy's
  // thread, before its reply is made.
  void add(const Job& job);
  // When the first byte of the reply was written.
  void add_end_to_end(double ms);

  // Prometheus' text, every line labelled with the policy.
  void write_metrics(std::string_view policy, MetricsText& out) const;
  // Samples, figures, the newest chunk. Asking marks the page as watched for some seconds.
  nlohmann::ordered_json live();
  bool picture(std::size_t index, Thumbnail& out) const;  // false: there is none

 private:
  void keep_pictures(const Observation& seen);

  mutable std::mutex mutex_;
  std::array<std::uint64_t, kOutcomes> outcomes_{};
  std::map<std::string, LatencySeries, std::less<>> series_;
  std::deque<StageSample> samples_;
  std::vector<Thumbnail> pictures_;
  std::vector<float> actions_;
  int horizon_ = 0, width_ = 0;
  std::uint64_t chunks_ = 0;
  std::string prompt_;
  double watched_until_ = 0, pictures_at_ = 0;
};

// Milliseconds of a finished job: queue, decode, the policy's stages, infer.
wire::Timings timings_of(const Job& job);

}  // namespace tendon::server
