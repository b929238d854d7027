#include "wire/routes.h"

#include <gtest/gtest.h>

#include "tendon/error.h"

namespace tendon::wire {
namespace {

const std::vector<std::string> kPolicies{"arm", "hand"};

Route plain(std::string_view target, std::string_view method = "GET") {
  return route({.method = method, .target = target}, kPolicies, {});
}
Route upgrade(std::string_view target, const KeyRing& keys = {}, std::string_view shown = {}) {
  return route({"GET", target, shown, Ask::Kind::upgrade}, kPolicies, keys);
}

TEST(Routes, PlainRequests) {
  EXPECT_EQ(plain("/healthz").goal, Goal::healthz);
  EXPECT_EQ(plain("/healthz", "HEAD").goal, Goal::healthz);
  EXPECT_EQ(plain("/readyz").goal, Goal::readyz);
  EXPECT_EQ(plain("/metrics?x=1").goal, Goal::metrics);
  EXPECT_EQ(plain("/").name, "index.html");
  EXPECT_EQ(plain("/live.js").name, "live.js");
  EXPECT_EQ(plain("/live/picture/arm/2").index, 2);
  EXPECT_EQ(plain("/live/picture/arm/-2").status, 404);
  EXPECT_EQ(plain("/live/picture/arm").status, 404);
  EXPECT_EQ(plain("/anything").status, 426);
  EXPECT_EQ(plain("/../etc/passwd").status, 426);
  EXPECT_EQ(plain("/healthz", "POST").status, 405);
  EXPECT_EQ(plain("http://host/").status, 400);
  EXPECT_EQ(plain("").status, 400);
}

TEST(Routes, Upgrades) {
  EXPECT_EQ(upgrade("/").goal, Goal::session);
  EXPECT_EQ(upgrade("/any/path").name, "");
  EXPECT_EQ(upgrade("/v1/policies/hand").name, "hand");
  EXPECT_EQ(upgrade("/v1/policies/foot").status, 404);
  EXPECT_EQ(upgrade("/healthz").goal, Goal::healthz);
}

TEST(Routes, KeysAreChecked) {
  const KeyRing keys = KeyRing::from_text("# robots\n\n  first \r\nsecond", "keys");
  EXPECT_EQ(upgrade("/", keys).status, 401);
  EXPECT_EQ(upgrade("/", keys, "Api-Key firs").status, 401);
  EXPECT_EQ(upgrade("/", keys, "Basic first").status, 401);
  EXPECT_EQ(upgrade("/", keys, "Api-Key").status, 401);
  EXPECT_EQ(upgrade("/", keys, "Api-Key first").goal, Goal::session);
  EXPECT_EQ(upgrade("/", keys, "bearer second").goal, Goal::session);
  EXPECT_EQ(upgrade("/v1/policies/foot", keys).status, 401);
  const auto shown = [&](std::string_view target) {
    return route({.method = "GET", .target = target}, kPolicies, keys);
  };
  EXPECT_EQ(shown("/metrics").status, 401);
  EXPECT_EQ(shown("/live.json").status, 401);
  EXPECT_EQ(shown("/healthz").goal, Goal::healthz);
  EXPECT_EQ(shown("/").goal, Goal::page);
  EXPECT_THROW(KeyRing::from_text("\n# none\n", "keys"), Error);
}

}  // namespace
}  // namespace tendon::wire
