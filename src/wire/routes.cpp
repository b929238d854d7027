#include "wire/routes.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"

namespace tendon::wire {
namespace {

constexpr std::string_view kPolicies = "/v1/policies/", kPicture = "/live/picture/";

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

Route refuse(int status, std::string reason) {
  return {.goal = Goal::refuse, .status = status, .reason = std::move(reason)};
}

Route session(std::string_view path, std::span<const std::string> policies) {
  if (!path.starts_with(kPolicies)) return {.goal = Goal::session};
  const std::string name(path.substr(kPolicies.size()));
  if (std::find(policies.begin(), policies.end(), name) == policies.end()) {
    return refuse(404, fmt::format("there is no policy {}; there are {}", printable(name),
                                   list_some(policies, 8)));
  }
  return {.goal = Goal::session, .name = name};
}

// "/live/picture/NAME/3".
Route picture(std::string_view path) {
  path.remove_prefix(kPicture.size());
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return refuse(404, "a picture is /live/picture/POLICY/N");
  Route r{.goal = Goal::picture, .name = std::string(path.substr(0, slash))};
  const char* end = path.data() + path.size();
  const auto read = std::from_chars(path.data() + slash + 1, end, r.index);
  if (read.ec != std::errc() || read.ptr != end || r.index < 0 || r.index > 63) {
    return refuse(404, "a picture is /live/picture/POLICY/N");
  }
  return r;
}

Route plain(std::string_view path) {
  if (path == "/readyz") return {.goal = Goal::readyz};
  if (path == "/") return {.goal = Goal::page, .name = "index.html"};
  if (path == "/live.js" || path == "/live.css") {
    return {.goal = Goal::page, .name = std::string(path.substr(1))};
  }
  if (path == "/metrics") return {.goal = Goal::metrics};
  if (path == "/live.json") return {.goal = Goal::live};
  if (path.starts_with(kPicture)) return picture(path);
  return refuse(426, "this address speaks the openpi policy protocol: upgrade to a websocket");
}

// What shows pictures, numbers or a policy is for those with a key.
bool needs_key(Goal goal) {
  return goal == Goal::session || goal == Goal::metrics || goal == Goal::live ||
         goal == Goal::picture;
}

}  // namespace

KeyRing KeyRing::from_text(std::string_view text, std::string_view origin) {
  KeyRing ring;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view key = trimmed(text.substr(0, end));
    if (!key.empty() && key[0] != '#') ring.digests_.push_back(sha256_hex(key));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  require(!ring.empty(), "{}: no key; write one a line", origin);
  return ring;
}

bool KeyRing::admits(std::string_view authorization) const {
  const std::size_t space = std::min(authorization.find(' '), authorization.size());
  std::string scheme(authorization.substr(0, space));
  for (char& c : scheme) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  const std::string digest = sha256_hex(trimmed(authorization.substr(space)));
  int same = 0;
  for (const std::string& known : digests_) {
    same |= CRYPTO_memcmp(known.data(), digest.data(), digest.size()) == 0;
  }
  return same && (scheme == "api-key" || scheme == "bearer");
}

Route route(const Ask& ask, std::span<const std::string> policies, const KeyRing& keys) {
  const std::string_view path = ask.target.substr(0, ask.target.find('?'));
  const bool upgrade = ask.kind == Ask::Kind::upgrade;
  if (ask.method != "GET" && (ask.method != "HEAD" || upgrade)) {
    return refuse(405, "GET and HEAD are answered here");
  }
  if (!path.starts_with('/')) return refuse(400, "the target is no path");
  if (path == "/healthz") return {.goal = Goal::healthz};
  Route r = upgrade ? session(path, policies) : plain(path);
  if (!keys.empty() && (needs_key(r.goal) || upgrade) && !keys.admits(ask.authorization)) {
    return refuse(401, "a key is wanted: Authorization: Api-Key KEY");
  }
  return r;
}

}  // namespace tendon::wire
