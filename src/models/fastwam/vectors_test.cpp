// The specification's published vectors, made with their own generator: the VAE at full width, a
// reduced policy, a reduced text encoder.
#include <numeric>

#include "base/hash.h"
#include "base/rng.h"
#include "models/fastwam/replay_test.h"

namespace tendon::fastwam::testing {
namespace {

// Uniform numbers in [-1, 1) of a name.
std::vector<float> numbers(const std::string& name, std::size_t count, double scale = 1.0) {
  std::vector<float> out(count);
  const std::uint64_t h = fnv1a64(name);
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = static_cast<float>(scale * unit_from_bits(vector_bits(h, i)));
  }
  return out;
}

Plan plan() {
  Plan p;
  p.dims = {
      {"image", {64, 96}}, {"vae_width", 160},    {"layers", 2},          {"heads", 2},
      {"head_dim", 128},   {"video_hidden", 256}, {"video_ffn", 512},     {"action_hidden", 128},
      {"action_ffn", 256}, {"text_width", 64},    {"context_len", 16},    {"proprio", 8},
      {"action", 7},       {"horizon", 32},       {"vocab", 64},          {"umt5_width", 64},
      {"umt5_heads", 4},   {"umt5_ffn", 96},      {"umt5_attention", 64}, {"umt5_layers", 2}};
  p.rule.laws = {{.glob = "*.bias", .amplitude = 0.1},
                 {.glob = "*modulation", .amplitude = 0.2},
                 {.glob = "*gamma", .offset = 1, .amplitude = 0.25},
                 {.glob = "*.weight", .rank = 1, .offset = 1, .amplitude = 0.25},
                 {.glob = "token_embedding.weight", .amplitude = 1},
                 {.glob = "*pos_embedding.embedding.weight", .amplitude = 1},
                 {.glob = "*"}};
  p.options.working = DType::f32;
  p.taps = Taps::on;
  return p;
}

// [C, h, w] to [h, w, C].
std::vector<float> channels_last(const std::vector<float>& planes, std::size_t channels) {
  std::vector<float> out(planes.size());
  const std::size_t pixels = planes.size() / channels;
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = planes[i % channels * pixels + i / channels];
  return out;
}

void expect(std::span<const float> ours, std::size_t first, std::initializer_list<double> wanted,
            double tolerance) {
  for (double w : wanted) EXPECT_NEAR(ours[first++], w, tolerance) << first - 1;
}

double rms(std::span<const float> values) {
  double squares = 0;
  for (float v : values) squares += static_cast<double>(v) * v;
  return std::sqrt(squares / static_cast<double>(values.size()));
}

constexpr auto kFirstRow = {0.609256,  0.386771,  -0.519402, -1.699176,
                            -1.544168, -0.696886, 0.788806};

// The policy and its call; the latent is a vector of its own, not the VAE's.
class FastWamVectors : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    session_ = std::make_unique<Session>(plan());
    image_ = channels_last(numbers("input.image", 3 * 64 * 96), 3);
    context_ = numbers("input.context", 5 * 64);  // rows 5 .. 15 are padding
    state_ = numbers("input.proprio", 8);
    noise_ = numbers("input.noise", 32 * 7, 1.5);
    session_->replace_latent(channels_last(numbers("input.latent", 48 * 4 * 6), 48));
    chunk_ = session_->run(call());
  }
  static void TearDownTestSuite() { session_.reset(); }
  static ModelInput call() {
    ModelInput input;
    input.samples.push_back({.cameras = {image_.data()}, .state = state_, .context = context_});
    input.noise = noise_;
    return input;
  }
  static const std::vector<float>& stage(const std::string& name) {
    return session_->stages().at(name).values;
  }

  static inline std::unique_ptr<Session> session_;
  static inline std::vector<float> image_, context_, state_, noise_, chunk_;
};

TEST(FastWamVector, Generator) {
  expect(numbers("a", 3), 0, {-0.25653815, 0.50770867, -0.36447346}, 1e-8);
  expect(numbers("input.image", 2), 0, {-0.874191, 0.305914}, 1e-6);
}

TEST_F(FastWamVectors, VaeAndPolicy) {
  const std::vector<float>& z = stage("latent");  // [4, 6, 48]
  expect(z, 0, {0.012940, -0.227869, 0.382673, 0.147388}, 1e-4);
  expect(z, 1 * 48, {0.445257}, 1e-4);
  expect(z, 2 * 48, {1.015078}, 1e-4);
  for (std::size_t x = 0; x < 3; ++x) {
    EXPECT_NEAR(z[(6 + x) * 48], (std::array{-0.043926, -0.344708, -0.171272}[x]), 1e-4);
  }
  EXPECT_NEAR(z[(3 * 6 + 5) * 48 + 47], 0.629923, 1e-4);
  EXPECT_NEAR(std::accumulate(z.begin(), z.end(), 0.0) / static_cast<double>(z.size()), 0.067456,
              1e-4);
  EXPECT_NEAR(rms(z), 0.696473, 1e-4);

  const std::vector<float>&k = stage("video.k.1"), &v = stage("video.v.1");
  expect(k, 0, {0.928467, -0.465413, 0.295173, 1.407480}, 1e-5);
  expect(k, 5 * 256 + 44, {-2.771584, 0.049937, -0.738059, -0.135722}, 1e-5);
  expect(v, 5 * 256, {0.459232, -2.358788, -1.094487, -0.657832}, 1e-5);
  const std::vector<float>& velocity = stage("action.velocity");
  expect(velocity, 0, {0.646941, -0.955641, 0.105874, -0.220084, 0.611796, 0.366533, -0.162263},
         1e-5);
  expect(velocity, (9 * 32 + 31) * 7,
         {0.186741, -0.344769, 0.060391, -0.872537, 0.860102, 0.511393, -1.053873}, 1e-5);

  expect(chunk_, 0, kFirstRow, 1e-5);
  expect(chunk_, 31 * 7, {0.107635, -0.361220, -1.016457, 0.054481, -1.330287, -0.869297, 0.126094},
         1e-5);
  EXPECT_NEAR(rms(chunk_), 1.587979, 1e-5);
}

// A second call with the same prompt and another state must not see the first one's.
TEST_F(FastWamVectors, F39_state_row_is_refreshed) {
  std::vector<float> negated = state_;
  for (float& v : negated) v = -v;
  ModelInput other = call();
  other.samples[0].state = negated;
  EXPECT_GT(largest_difference(session_->run(other), chunk_), 0.1);
  expect(session_->run(call()), 0, kFirstRow, 1e-5);
}

TEST(FastWamVector, TextEncoder) {
  const Plan p = plan();
  const Checkpoint checkpoint = Session::weights(p);
  std::vector<std::int32_t> ids(40);
  for (int i = 0; i < 39; ++i) ids[static_cast<std::size_t>(i)] = (7 * i + 3) % 61 + 2;
  ids[39] = 1;
  const auto backend = Session::backend();
  const std::vector<float> y =
      umt5::make_encoder(config_from(p.dims).text, DType::f32, checkpoint)->encode(ids, *backend);
  expect(y, 0, {-0.570052, 1.494216, -0.207023, 0.623632}, 2e-6);
  expect(y, 39 * 64, {0.218456, -0.944386, 1.076534, -0.380137}, 2e-6);
  EXPECT_NEAR(rms(y), 1.031750, 2e-6);
}

}  // namespace
}  // namespace tendon::fastwam::testing
