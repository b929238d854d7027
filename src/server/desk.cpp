#include "server/desk.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"

namespace tendon::server {
namespace {

double ms_since(std::int64_t from) { return static_cast<double>(now_ns() - from) * 1e-6; }

Outcome outcome_of(std::string_view code) {
  if (code == "bad_encoding") return Outcome::bad_encoding;
  if (code == "busy") return Outcome::busy;
  if (code == "engine_failed") return Outcome::engine_failed;
  if (code == "stopping") return Outcome::dropped;
  return Outcome::bad_observation;
}

double model_ms(const Chunk& chunk) {
  double seconds = 0;
  for (const auto& [stage, part] : chunk.timing) {
    if (stage != "preprocess" && stage != "postprocess") seconds += part;
  }
  return seconds * 1e3;
}

}  // namespace

// A text frame and the end of the connection, as every client of the protocol expects; a map and no
// end for those that ask for it; and nothing ends where only the moment was wrong.
Outgoing Desk::refuse(const wire::Fault& fault, const Job& job) {
  service_.board.count(outcome_of(fault.code));
  Outgoing out{.received = job.times.received};
  const bool understood = fault.code != "bad_encoding" && fault.code != "engine_failed";
  if (job.request.error_maps && understood) {
    wire::Encoder encoder;
    wire::encode_error(fault, encoder);
    out.bytes = encoder.str();
    return out;
  }
  out.form = Outgoing::Form::text;
  out.bytes = wire::error_text(fault);
  if (fault.code == "stopping") {
    out.after = Outgoing::After::close_away;
  } else if (fault.code != "busy") {
    out.after = Outgoing::After::close_error;
  }
  return out;
}

Outgoing Desk::reset(const Job& job) {
  seed_ = job.request.seed.value_or(hub_.options.seed);
  requests_ = 0;
  wire::Encoder encoder;
  wire::encode_reset(job.request.form, {{"total_ms", ms_since(job.times.received)}}, encoder);
  return {.bytes = encoder.str(), .received = job.times.received};
}

void Desk::check(const wire::Request& request) const {
  require(request.weights.empty(),
          "path_to_pi_model: this server runs what it was started with and loads nothing else");
  require(!request.realtime, "rtc: this server answers mode \"none\" only");
  require(!request.overrides || hub_.options.overrides == ServerOptions::Overrides::allow,
          "noise, seed and num_steps of a request are taken by a server with --allow-overrides");
}

void Desk::observe(Job& job) {
  check(job.request);
  if (!job.builder) job.builder.emplace(service_.worker.info());
  job.builder->clear();
  wire::feed(job.request, *job.builder);
  const auto unknown = job.builder->unknown();
  if (hub_.options.unknown == ServerOptions::Unknown::refuse && !unknown.empty()) {
    fail("this policy does not take {}", list_some(unknown, 8));
  }
  job.observation = &job.builder->observation();
}

Desk::Next Desk::receive(std::unique_ptr<Job>& job, Frame frame) {
  Next next;
  try {
    job->request.error_maps = false;
    if (frame == Frame::text) throw wire::EncodingError("a request is a binary frame");
    decoder_.decode(job->bytes, job->request);
    if (job->request.reset) {
      check(job->request);
      next.message = reset(*job);
      return next;
    }
    observe(*job);
    job->seed = job->request.seed.value_or(request_seed(seed_, requests_));
    ++requests_;
    job->times.decoded = now_ns();
    next.run = std::move(job);
  } catch (const wire::EncodingError& e) {
    next.message = refuse({"bad_encoding", e.what()}, *job);
  } catch (const Error& e) {
    next.message = refuse({"bad_observation", e.what()}, *job);
  }
  return next;
}

std::optional<Outgoing> Desk::submit(std::unique_ptr<Job>& job) {
  switch (service_.worker.submit(job)) {
    case JobQueue::Answer::queued:
      return std::nullopt;
    case JobQueue::Answer::replaced:
      service_.board.count(Outcome::replaced);
      return std::nullopt;
    case JobQueue::Answer::full:
      break;
  }
  const Worker::State state = service_.worker.state();
  if (hub_.stopping) return refuse({"stopping", "the server stops"}, *job);
  if (state != Worker::State::ready) {
    return refuse({"engine_failed", service_.worker.reason()}, *job);
  }
  return refuse({"busy", "the policy is busy and its queue is full; ask again"}, *job);
}

Outgoing Desk::reply(const Job& job) {
  if (job.end == Job::End::dropped) {
    return hub_.stopping ? refuse({"stopping", "the server stops"}, job)
                         : refuse({"engine_failed", service_.worker.reason()}, job);
  }
  if (job.end == Job::End::faulted) {
    return refuse({"engine_failed", std::string(job.status.message())}, job);
  }
  if (job.end == Job::End::failed) {
    return refuse({"bad_observation", std::string(job.status.message())}, job);
  }
  service_.board.count(Outcome::ok);
  wire::Timings timings{
      {"infer_ms", static_cast<double>(job.times.finished - job.times.started) * 1e-6}};
  if (previous_total_ms_ >= 0) timings.emplace_back("prev_total_ms", previous_total_ms_);
  for (auto& part : timings_of(job)) timings.push_back(std::move(part));
  timings.emplace_back("total_ms", ms_since(job.times.received));
  wire::Encoder encoder;
  wire::encode_chunk({.chunk = &job.chunk,
                      .form = job.request.form,
                      .type = hub_.options.actions,
                      .model_ms = model_ms(job.chunk),
                      .timings = &timings},
                     encoder);
  return {.bytes = encoder.str(), .received = job.times.received};
}

void Desk::sent(const Outgoing& message, std::int64_t first_byte, std::int64_t last_byte) {
  if (message.received == 0) return;
  previous_total_ms_ = static_cast<double>(last_byte - message.received) * 1e-6;
  if (message.form == Outgoing::Form::binary) {
    service_.board.add_end_to_end(static_cast<double>(first_byte - message.received) * 1e-6);
  }
}

}  // namespace tendon::server
