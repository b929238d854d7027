// load() and infer() on miniature folders: what a user relies on, and what is refused.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/rng.h"
#include "tendon/tendon.h"
#include "tests/policy/folder.h"

namespace tendon::testing {
namespace {

std::vector<std::uint8_t> noisy_pixels(std::size_t count) {
  std::vector<std::uint8_t> pixels(count);
  for (std::size_t i = 0; i < count; ++i) {
    pixels[i] = static_cast<std::uint8_t>(synthetic_bits(1, i) >> 56);
  }
  return pixels;
}

class LoadedPolicy : public ::testing::TestWithParam<const char*>, protected Miniature {
 protected:
  LoadedPolicy() : Miniature("policy", GetParam(), noisy_pixels(kPixels)) {}
};

TEST_P(LoadedPolicy, NoiseSeedsAndSteps) {
  Policy policy = load();
  const PolicyInfo& info = policy.info();
  const Observation seen = observation(info);
  const Chunk chunk = policy.infer(seen, {.seed = 3});
  EXPECT_EQ(chunk.horizon, info.horizon);
  EXPECT_EQ(chunk.width, info.width);
  EXPECT_EQ(chunk.actions.size(), static_cast<std::size_t>(info.horizon * info.width));
  EXPECT_EQ(policy.infer(seen, {.seed = 3}).actions, chunk.actions);
  EXPECT_NE(policy.infer(seen, {.seed = 4}).actions, chunk.actions);
  std::vector<float> noise(static_cast<std::size_t>(info.horizon * info.model_width));
  fill_gaussian(3, 0, noise);
  EXPECT_EQ(policy.infer(seen, {.noise = noise}).actions, chunk.actions);
  noise[0] += 1.0f;
  EXPECT_NE(policy.infer(seen, {.noise = noise}).actions, chunk.actions);
  EXPECT_EQ(policy.infer(seen, {.seed = 3, .steps = info.default_steps}).actions, chunk.actions);
  for (int steps : {1, 2, 7, 100}) {
    for (double a : policy.infer(seen, {.seed = 3, .steps = steps}).actions) {
      ASSERT_TRUE(std::isfinite(a)) << steps;
    }
  }
  EXPECT_EQ(policy.infer(seen, {.seed = 3}).actions, chunk.actions);  // and back again
}

TEST_P(LoadedPolicy, PinnedRowsComeBack) {
  Policy policy = load();
  const Observation seen = observation(policy.info());
  const Chunk first = policy.infer(seen, {.seed = 1});
  const auto two_rows = static_cast<std::size_t>(2 * first.model_width);
  const std::vector<float> pinned(first.model_actions.end() - static_cast<std::ptrdiff_t>(two_rows),
                                  first.model_actions.end());
  const Chunk next = policy.infer(seen, {.seed = 2, .pinned = pinned});
  EXPECT_TRUE(std::equal(pinned.begin(), pinned.end(), next.model_actions.begin()));
  const Chunk free = policy.infer(seen, {.seed = 2});
  EXPECT_NE(std::vector(next.model_actions.begin() + static_cast<std::ptrdiff_t>(two_rows),
                        next.model_actions.end()),
            std::vector(free.model_actions.begin() + static_cast<std::ptrdiff_t>(two_rows),
                        free.model_actions.end()));
}

TEST_P(LoadedPolicy, ABatchIsItsSamples) {
  Policy single = load(), pair = load({.batch = 2});
  Observation a = observation(single.info()), b = a;
  b.prompt = "put the cup on the plate, then come back to where you were";
  b.state[0].values[0] = -0.2;
  const std::vector<Observation> both = {a, b};
  const PolicyInfo& info = single.info();
  const auto n = static_cast<std::size_t>(info.horizon * info.model_width);
  std::vector<float> noise(2 * n);
  fill_gaussian(9, 0, noise);
  std::vector<Chunk> chunks(2);
  const Status status = pair.infer(both, {.noise = noise}, chunks);
  ASSERT_TRUE(status.ok()) << status.message();
  for (std::size_t i = 0; i < 2; ++i) {
    const Chunk alone = single.infer(both[i], {.noise = std::span(noise).subspan(i * n, n)});
    for (std::size_t j = 0; j < n; ++j) {
      ASSERT_NEAR(chunks[i].model_actions[j], alone.model_actions[j], 1e-5) << i << " " << j;
    }
  }
}

TEST_P(LoadedPolicy, RefusalsNameTheThing) {
  Policy policy = load();
  const Observation good = observation(policy.info());
  Chunk chunk;
  const auto refused = [&](auto change, const std::string& word, const InferOptions& how = {}) {
    Observation seen = good;
    change(seen);
    const Status status = policy.infer(seen, how, chunk);
    ASSERT_FALSE(status.ok()) << word;
    EXPECT_NE(std::string(status.message()).find(word), std::string::npos) << status.message();
    EXPECT_EQ(std::string(status.message()).find('\n'), std::string::npos);
  };
  const auto as_is = [](Observation&) {};
  const std::string camera = good.cameras[0].name;
  refused([](Observation& o) { o.cameras.erase(o.cameras.begin()); }, camera);
  refused([](Observation& o) { o.cameras[0].name = "nonsense"; }, "nonsense");
  refused([](Observation& o) { o.cameras[0].image.data = nullptr; }, camera);
  refused([](Observation& o) { o.cameras[0].image.height = 0; }, camera);
  refused([](Observation& o) { o.state[0].values.pop_back(); }, "state");
  refused([](Observation& o) { o.state.clear(); }, "state");
  refused([](Observation& o) { o.state[0].values[1] = std::nan(""); }, "finite");
  refused([](Observation& o) { o.state[0].values[1] = HUGE_VAL; }, "finite");
  refused([](Observation& o) { o.prompt.assign(3000, 'z'); }, "prompt");
  refused([](Observation& o) { o.prompt = "\xff\xfe"; }, "UTF-8");
  refused(as_is, "steps", {.steps = 101});
  const std::vector<float> few(3),
      nan(static_cast<std::size_t>(policy.info().horizon * policy.info().model_width),
          std::numeric_limits<float>::quiet_NaN());
  refused(as_is, "noise", {.noise = few});
  refused(as_is, "noise", {.noise = nan});
  refused(as_is, "pinned", {.pinned = few});
  EXPECT_TRUE(policy.infer(good, {}, chunk).ok());  // a refusal leaves nothing behind

  Policy cutting = load({.truncate_prompt = true});
  Observation longer = good;
  longer.prompt.assign(3000, 'z');
  EXPECT_TRUE(cutting.infer(longer, {}, chunk).ok());
}

INSTANTIATE_TEST_SUITE_P(Families, LoadedPolicy, ::testing::Values("pi05", "pi0", "lingbot_vla"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace tendon::testing
