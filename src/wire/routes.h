// What an HTTP request on the server's port asks for, decided without a socket.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tendon::wire {

// Keys that clients may show. Only their digests are kept.
class KeyRing {
 public:
  // One key a line; blank lines and lines that begin with '#' are skipped. Throws Error where there
  // is no key.
  static KeyRing from_text(std::string_view text, std::string_view origin);

  bool empty() const { return digests_.empty(); }
  // "Api-Key K" or "Bearer K". Takes the same time whichever key is shown.
  bool admits(std::string_view authorization) const;

 private:
  std::vector<std::string> digests_;
};

struct Ask {
  std::string_view method, target, authorization;
  enum class Kind : std::uint8_t { plain, upgrade } kind = Kind::plain;
};

enum class Goal : std::uint8_t {
  healthz,
  readyz,
  metrics,
  page,     // a file of the live page: `name`
  live,     // its numbers, JSON
  picture,  // a camera's newest picture: policy `name`, camera `index`
  session,  // upgrade: policy `name`, empty for the default
  refuse,   // `status` and `reason`
};

struct Route {
  Goal goal = Goal::refuse;
  std::string name;
  int index = 0;
  int status = 200;
  std::string reason;
};

Route route(const Ask& ask, std::span<const std::string> policies, const KeyRing& keys);

}  // namespace tendon::wire
