// A session's side of the protocol without its socket: requests in, jobs out, messages back.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/hub.h"
#include "wire/reply.h"

namespace tendon::server {

// A message to be written, and what follows it.
struct Outgoing {
  enum class Form : std::uint8_t { binary, text } form = Form::binary;
  enum class After : std::uint8_t { stay, close_error, close_away } after = After::stay;
  std::string bytes;
  std::int64_t received = 0;  // of the request that it answers; 0: none
};

// One thread at a time.
class Desk {
 public:
  Desk(Hub& hub, Service& service) : hub_(hub), service_(service), seed_(hub.options.seed) {}

  // What to do with a request that has just arrived in job->bytes.
  struct Next {
    std::optional<Outgoing> message;  // answer at once
    std::unique_ptr<Job> run;         // submit this
  };
  // `job` comes back free where it is not to be run. Needs the policy to be ready.
  enum class Frame : std::uint8_t { binary, text };
  Next receive(std::unique_ptr<Job>& job, Frame frame);

  // Hands the job to the policy; returns an answer where it will not run. `job` holds what is free
  // afterwards, if anything.
  std::optional<Outgoing> submit(std::unique_ptr<Job>& job);

  // The answer to a job that came back.
  Outgoing reply(const Job& job);
  // A reply has left.
  void sent(const Outgoing& message, std::int64_t first_byte, std::int64_t last_byte);

 private:
  Outgoing refuse(const wire::Fault& fault, const Job& job);
  Outgoing reset(const Job& job);
  void check(const wire::Request& request) const;
  void observe(Job& job);

  Hub& hub_;
  Service& service_;
  wire::RequestDecoder decoder_;
  std::uint64_t seed_, requests_ = 0;
  double previous_total_ms_ = -1;
};

}  // namespace tendon::server
