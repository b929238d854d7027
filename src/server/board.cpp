#include "server/board.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/error.h"
#include "measure/timing.h"

namespace tendon::server {
namespace {

constexpr std::size_t kSamplesKept = 600;
constexpr double kWatchSeconds = 5, kPictureSeconds = 0.1;
constexpr int kThumbnailSide = 320;

double seconds_now() { return static_cast<double>(now_ns()) * 1e-9; }
double ms_between(std::int64_t from, std::int64_t to) {
  return static_cast<double>(to - from) * 1e-6;
}

std::string_view stage_key(std::string_view stage) {
  return stage == "postprocess" ? "post" : stage;
}

// Every n-th pixel: enough to see what a camera sees.
void shrink(const Image& image, Thumbnail& out) {
  const int longest = std::max(image.height, image.width);
  const int step = std::max(1, (longest + kThumbnailSide - 1) / kThumbnailSide);
  out.full_height = image.height;
  out.full_width = image.width;
  out.height = (image.height + step - 1) / step;
  out.width = (image.width + step - 1) / step;
  out.pixels.resize(static_cast<std::size_t>(out.height) * static_cast<std::size_t>(out.width) * 3);
  const std::size_t row_bytes =
      image.row_bytes ? image.row_bytes : static_cast<std::size_t>(image.width) * 3;
  std::uint8_t* to = out.pixels.data();
  for (int y = 0; y < image.height; y += step) {
    const std::uint8_t* row = image.data + static_cast<std::size_t>(y) * row_bytes;
    for (int x = 0; x < image.width; x += step, to += 3) std::copy_n(row + x * 3, 3, to);
  }
}

nlohmann::ordered_json to_json(const measure::Percentiles& f) {
  return {{"n", f.count}, {"min", f.min}, {"mean", f.mean}, {"p50", f.p50}, {"p90", f.p90},
          {"p95", f.p95}, {"p99", f.p99}, {"p999", f.p999}, {"max", f.max}};
}

void write_series(std::string_view policy, std::string_view stage, const LatencySeries& series,
                  MetricsText& out) {
  const std::string labels = fmt::format("policy=\"{}\",stage=\"{}\"", policy, stage);
  std::string& h = out.histograms;
  for (std::size_t i = 0; i < LatencySeries::kBounds.size(); ++i) {
    h += fmt::format("tendon_stage_seconds_bucket{{{},le=\"{}\"}} {}\n", labels,
                     LatencySeries::kBounds[i] / 1e3, series.at_most(i));
  }
  h += fmt::format("tendon_stage_seconds_bucket{{{},le=\"+Inf\"}} {}\n", labels, series.count());
  h += fmt::format("tendon_stage_seconds_sum{{{}}} {:.9g}\n", labels, series.sum() / 1e3);
  h += fmt::format("tendon_stage_seconds_count{{{}}} {}\n", labels, series.count());
  const measure::Percentiles f = measure::percentiles(series.window());
  const std::pair<const char*, double> shown[] = {{"0.5", f.p50},  {"0.9", f.p90},
                                                  {"0.95", f.p95}, {"0.99", f.p99},
                                                  {"1", f.max},    {"0.999", f.p999}};
  for (const auto& [quantile, ms] : shown) {
    if (f.p999 == 0 && quantile == std::string_view("0.999")) continue;  // too few samples
    out.quantiles +=
        fmt::format("tendon_stage_latency_ms{{{},quantile=\"{}\"}} {:.6g}\n", labels, quantile, ms);
  }
}

nlohmann::ordered_json samples_json(const std::deque<StageSample>& samples, double now) {
  auto all = nlohmann::ordered_json::array();
  for (const StageSample& sample : samples) {
    auto stages = nlohmann::ordered_json::object();
    for (const auto& [stage, ms] : sample.stages) {
      stages[std::string(stage)] = std::round(ms * 1e4) / 1e4;
    }
    all.push_back({{"age", std::round((now - sample.at) * 1e3) / 1e3}, {"ms", std::move(stages)}});
  }
  return all;
}

}  // namespace

std::string_view name(Outcome outcome) {
  constexpr std::string_view kNames[kOutcomes] = {
      "ok", "bad_encoding", "bad_observation", "busy", "replaced", "engine_failed", "dropped"};
  return kNames[static_cast<std::size_t>(outcome)];
}

wire::Timings timings_of(const Job& job) {
  const JobTimes& t = job.times;
  wire::Timings timings{{"queue_ms", ms_between(t.decoded, t.started)},
                        {"decode_ms", ms_between(t.received, t.decoded)}};
  for (const auto& [stage, seconds] : job.chunk.timing) {
    timings.emplace_back(fmt::format("{}_ms", stage_key(stage)), seconds * 1e3);
  }
  return timings;
}

void Board::count(Outcome outcome) {
  const std::lock_guard lock(mutex_);
  ++outcomes_[static_cast<std::size_t>(outcome)];
}

void Board::add(const Job& job) {
  if (job.end != Job::End::ran) return;
  const JobTimes& t = job.times;
  const double now = seconds_now();
  const std::lock_guard lock(mutex_);
  StageSample sample{.at = now};
  sample.stages = {{"decode", ms_between(t.received, t.decoded)},
                   {"queue", ms_between(t.decoded, t.started)}};
  for (const auto& [stage, seconds] : job.chunk.timing) {
    sample.stages.emplace_back(stage_key(stage), seconds * 1e3);
  }
  for (const auto& [stage, ms] : sample.stages) series_[std::string(stage)].add(ms);
  series_["infer"].add(ms_between(t.started, t.finished));
  samples_.push_back(std::move(sample));
  if (samples_.size() > kSamplesKept) samples_.pop_front();
  ++chunks_;
  if (now > watched_until_) return;
  horizon_ = job.chunk.horizon;
  width_ = job.chunk.width;
  actions_.assign(job.chunk.actions.begin(), job.chunk.actions.end());
  prompt_ = job.observation->prompt;
  if (now - pictures_at_ >= kPictureSeconds) {
    pictures_at_ = now;
    keep_pictures(*job.observation);
  }
}

void Board::keep_pictures(const Observation& seen) {
  pictures_.resize(seen.cameras.size());
  for (std::size_t i = 0; i < seen.cameras.size(); ++i) {
    pictures_[i].camera = seen.cameras[i].name;
    shrink(seen.cameras[i].image, pictures_[i]);
  }
}

void Board::add_end_to_end(double ms) {
  const std::lock_guard lock(mutex_);
  series_["e2e"].add(ms);
}

void Board::write_metrics(std::string_view policy, MetricsText& out) const {
  std::array<std::uint64_t, kOutcomes> outcomes;
  std::map<std::string, LatencySeries, std::less<>> series;
  {
    const std::lock_guard lock(mutex_);  // the policy's thread must not wait for the sorting
    outcomes = outcomes_;
    series = series_;
  }
  for (std::size_t i = 0; i < kOutcomes; ++i) {
    out.requests += fmt::format("tendon_requests_total{{policy=\"{}\",outcome=\"{}\"}} {}\n",
                                policy, name(static_cast<Outcome>(i)), outcomes[i]);
  }
  for (const auto& [stage, samples] : series) write_series(policy, stage, samples, out);
}

nlohmann::ordered_json Board::live() {
  nlohmann::ordered_json j;
  std::map<std::string, LatencySeries, std::less<>> series;
  std::deque<StageSample> samples;
  const double now = seconds_now();
  {
    const std::lock_guard lock(mutex_);  // no longer than it takes to copy
    watched_until_ = now + kWatchSeconds;
    for (std::size_t i = 0; i < kOutcomes; ++i) {
      j["outcomes"][std::string(name(static_cast<Outcome>(i)))] = outcomes_[i];
    }
    j["chunks"] = chunks_;
    j["chunk"] = {{"horizon", horizon_}, {"width", width_}, {"actions", actions_}};
    j["prompt"] = prompt_;
    j["pictures"] = nlohmann::ordered_json::array();
    for (const Thumbnail& p : pictures_) {
      j["pictures"].push_back(
          {{"camera", p.camera}, {"height", p.full_height}, {"width", p.full_width}});
    }
    series = series_;
    samples = samples_;
  }
  j["samples"] = samples_json(samples, now);
  for (const auto& [stage, one] : series)
    j["figures"][stage] = to_json(measure::percentiles(one.window()));
  return j;
}

bool Board::picture(std::size_t index, Thumbnail& out) const {
  const std::lock_guard lock(mutex_);
  if (index >= pictures_.size()) return false;
  out = pictures_[index];
  return true;
}

}  // namespace tendon::server
