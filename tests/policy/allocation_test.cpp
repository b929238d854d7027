// Once warm a policy plans nothing and takes no memory: for every length of a prompt, operator new
// is counted over the whole process while infer() runs.
#include <gtest/gtest.h>

#include "engine/backends.h"
#include "engine/loader.h"
#include "tests/policy/folder.h"
#include "tests/support/allocations.h"
#include "tests/support/forwarding.h"

namespace tendon::testing {
namespace {

// A token for each byte: prompts of any length, and no library's memory.
class Bytes final : public Tokenizer {
 public:
  void encode(std::string_view text, std::vector<std::int32_t>& ids) override {
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  }
  std::int32_t vocabulary() const override { return 256; }
  std::int32_t id_of(std::string_view) const override { return -1; }
  const std::string& content_hash() const override { return hash_; }

 private:
  std::string hash_;
};

// Tells which trace of the prefix stage ran last.
class Spy final : public support::Forwarding {
 public:
  using Forwarding::Forwarding;
  Status run(std::size_t trace, int first, int count) noexcept override {
    if (std::string_view(program().traces[trace].name()).starts_with("prefix.")) prefix = trace;
    return Forwarding::run(trace, first, count);
  }

  std::size_t prefix = 0;
};

struct Warm {
  Source source;
  Spy* spy = nullptr;
  std::unique_ptr<PolicyCore> core;

  Warm(const std::filesystem::path& folder, std::int64_t frame_pixels) {
    const LoadOptions options{
        .device = "cpu", .dtype = "f32", .threads = 1, .frame_pixels = frame_pixels};
    source = open_source(folder, options);
    const auto backend = make_backend("cpu");
    Compiled compiled = compile_model(source, model_options(source, options), options, *backend);
    PolicyParts parts;
    parts.preprocessors.emplace_back(source.contract, source.statistics, std::make_unique<Bytes>(),
                                     PreprocessOptions{.frame_pixels = frame_pixels});
    parts.model = std::move(compiled.model);
    auto watched = std::make_unique<Spy>(std::move(compiled.executable));
    spy = watched.get();
    parts.executable = std::move(watched);
    core = std::make_unique<PolicyCore>(std::move(parts));
    core->warm_up(5e11);
  }
};

struct Case {
  const char* family;
  std::int64_t frame_pixels;
  std::string name() const { return family + std::string(frame_pixels > 0 ? "_frames" : ""); }
};

class WarmPolicy : public ::testing::TestWithParam<Case> {};

TEST_P(WarmPolicy, EveryPromptLengthWithoutPlanOrAllocation) {
  const TemporaryFolder folder("allocation_" + GetParam().name());
  write_miniature(GetParam().family, folder.path);
  Warm warm(folder.path, GetParam().frame_pixels);
  const Contract& contract = warm.core->contract();
  const std::vector<std::uint8_t> pixels(40 * 60 * 3, 77);
  Observation seen;
  for (const Picture& p : contract.images.pictures) {
    for (const Camera& c : p.cameras) {
      seen.cameras.push_back({c.keys.front(), {pixels.data(), 40, 60, 0}});
    }
  }
  for (const StatePart& part : contract.robot_rules.state_sources.front()) {
    seen.state.push_back(
        {part.key, std::vector<double>(static_cast<std::size_t>(part.width), 0.1)});
  }
  std::vector<Chunk> chunk(1);
  const auto infer = [&](int steps) {
    return warm.core->infer({&seen, 1}, {.seed = 5, .steps = steps}, chunk);
  };
  const auto turn_frames = [&] {
    for (auto& camera : seen.cameras) std::swap(camera.image.height, camera.image.width);
  };
  seen.prompt = "warm";
  ASSERT_TRUE(infer(0).ok()) << infer(0).message();
  turn_frames();
  ASSERT_TRUE(infer(0).ok()) << infer(0).message();
  const std::size_t traces = warm.core->executable().program().traces.size();
  seen.prompt.reserve(300);
  seen.prompt.clear();
  std::string refusal;
  int accepted = 0;
  std::size_t buckets = 0, last = traces;
  for (int length = 1; length <= 300 && refusal.empty(); ++length) {
    seen.prompt += 'a';
    if (length % 4 == 0) turn_frames();
    const std::size_t before = support::allocations;
    const Status status = infer(length % 3 == 0 ? 2 : 0);  // another schedule now and then
    const std::size_t counted = support::allocations - before;
    if (!status.ok()) {
      refusal = status.message();
      break;
    }
    ++accepted;
    ASSERT_EQ(counted, 0u) << "a prompt of " << length << " letters";
    if (warm.spy->prefix != last) ++buckets;
    last = warm.spy->prefix;
  }
  EXPECT_EQ(warm.core->executable().program().traces.size(), traces);
  const int capacity = contract.prompt.capacity;
  EXPECT_NE(refusal.find(std::to_string(capacity + 1) + " tokens where the model takes " +
                         std::to_string(capacity)),
            std::string::npos)
      << refusal;
  EXPECT_GT(accepted, capacity - 12);
  // Each bucket was entered once: the work is a step function of the length.
  EXPECT_EQ(buckets, model_options(warm.source, {}).token_buckets.size());
}

INSTANTIATE_TEST_SUITE_P(Families, WarmPolicy,
                         ::testing::Values(Case{"pi05", 0}, Case{"pi05", 2400}, Case{"pi0", 0},
                                           Case{"lingbot_vla", 0}, Case{"lingbot_vla", 3000}),
                         [](const auto& info) { return info.param.name(); });

}  // namespace
}  // namespace tendon::testing
