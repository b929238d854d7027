// What the chunk answers to a change of one input. An answer, not a chunk, is compared: what both
// calls share cancels out. Recorded are two calls that differ in
//   a camera: LingBot-VLA (LingBotTrap.AnswersACameraAsRecorded);
//   the state: pi0 (here), FastWAM, which takes calls without one (FastWamResponse);
//   rows of the noise, of which the first velocity is recorded: FastWAM (FastWamResponse);
//   the shift, each way to hold pinned rows: FastWAM (FastWamResponse).
// No recording has two calls that differ in a token alone, in one entry of the noise, in a camera
// of pi0.5 or pi0 or in LingBot-VLA's state. There the definition answers: the reference backend,
// whose stages the recordings judge one by one.
#include <algorithm>
#include <cmath>

#include "engine/backends.h"
#include "tests/model/session.h"

namespace tendon::testing {
namespace {

struct Subject {
  const char *file, *name;
};

class Answers : public ::testing::TestWithParam<Subject> {
 protected:
  Answers() {
    if (recorded.family().make_text_encoder == nullptr) return;
    options.token_buckets = {static_cast<int>(recorded.call.tokens[0].size())};
    options.camera_counts = {1};
  }

  // The family's text rows where it takes them.
  ModelInput with_context(ModelInput input, std::vector<float>& rows) const {
    if (recorded.family().make_text_encoder == nullptr) return input;
    const Checkpoint weights = recorded.weights();
    const auto encoder = recorded.family().make_text_encoder(recorded.dims(), DType::f32, weights);
    rows = encoder->encode(input.samples[0].tokens, *make_backend("reference"));
    input.samples[0].context = rows;
    return input;
  }

  // Relative difference of the two backends' answers, and the size of the reference's.
  struct Compared {
    double difference, size;
  };
  Compared compare(const ModelInput& changed) {
    std::vector<float> base_rows, rows;
    const ModelInput base = with_context(recorded.call.input, base_rows);
    const ModelInput other = with_context(changed, rows);
    const auto answer = [&](const char* device) {
      Session session(recorded.family(), recorded.dims(), options, recorded.weights(),
                      {.device = device});
      const std::vector<float> before = session.run(base);
      std::vector<float> after = session.run(other);
      for (std::size_t i = 0; i < after.size(); ++i) after[i] -= before[i];
      return after;
    };
    const std::vector<float> wanted = answer("reference"), got = answer("cpu");
    double difference = 0, size = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      difference += std::pow(static_cast<double>(got[i]) - wanted[i], 2);
      size += std::pow(static_cast<double>(wanted[i]), 2);
    }
    return {std::sqrt(difference / size), std::sqrt(size / static_cast<double>(got.size()))};
  }

  RecordedCase recorded{GetParam().file, GetParam().name};
  ModelOptions options = recorded.options();
};

TEST_P(Answers, OneCamera) {
  ModelInput changed = recorded.call.input;
  std::vector<float> picture = recorded.call.floats[0];
  for (float& v : picture) v = -v;
  changed.samples[0].cameras[0] = picture.data();
  const Compared answer = compare(changed);
  EXPECT_GT(answer.size, 1e-4);
  EXPECT_LT(answer.difference, 1e-3);
}

TEST_P(Answers, OneEntryOfTheState) {
  ModelInput changed = recorded.call.input;
  std::vector<float> state(changed.samples[0].state.begin(), changed.samples[0].state.end());
  ASSERT_FALSE(state.empty());
  state[1] += 0.5f;
  changed.samples[0].state = state;
  const Compared answer = compare(changed);
  if (GetParam().file == std::string("pi05_cases")) {
    EXPECT_EQ(answer.size, 0);  // it stands in the prompt
    return;
  }
  EXPECT_GT(answer.size, 1e-4);
  EXPECT_LT(answer.difference, 1e-3);
}

TEST_P(Answers, OneToken) {
  ModelInput changed = recorded.call.input;
  std::vector<std::int32_t> tokens = recorded.call.tokens[0];
  tokens[3] = tokens[3] == 7 ? 8 : 7;
  changed.samples[0].tokens = tokens;
  const Compared answer = compare(changed);
  EXPECT_GT(answer.size, 1e-4);
  EXPECT_LT(answer.difference, 1e-3);
}

TEST_P(Answers, OneEntryOfTheNoise) {
  const std::size_t last = recorded.call.input.noise.size() - 1;
  for (std::size_t entry : {std::size_t{0}, last}) {
    ModelInput changed = recorded.call.input;
    std::vector<float> noise(changed.noise.begin(), changed.noise.end());
    noise[entry] += 0.5f;
    changed.noise = noise;
    const Compared answer = compare(changed);
    EXPECT_GT(answer.size, 1e-4) << entry;
    EXPECT_LT(answer.difference, 1e-4) << entry;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Answers,
                         ::testing::Values(Subject{"pi05_cases", "a_two_cameras"},
                                           Subject{"pi0_cases", "a_two_cameras"},
                                           Subject{"lingbot_vla_tiny", "base"},
                                           Subject{"fastwam_tiny", "n4"}),
                         [](const auto& info) {
                           const std::string file = info.param.file;
                           return file.substr(0, file.rfind('_'));
                         });

// Two recorded cases that differ in the state alone.
TEST(Pi0Answers, TheStateAsRecorded) {
  const RecordedCase base("pi0_cases", "e_steps4"), other("pi0_cases", "f_other_state");
  ASSERT_EQ(base.call.input.steps, other.call.input.steps);
  const auto minus = [](std::vector<float> a, std::span<const float> b) {
    for (std::size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
    return a;
  };
  const std::vector<float> recorded =
      minus(other.expected("actions").values, base.expected("actions").values);
  EXPECT_GT(*std::max_element(recorded.begin(), recorded.end()), 1e-2);
  for (const char* device : {"reference", "cpu"}) {
    Session session(base.family(), base.dims(), base.options(), base.weights(), {.device = device});
    const std::vector<float> before = session.run(base.call), after = session.run(other.call);
    EXPECT_LE(largest_difference(minus(after, before), recorded), 1e-5) << device;
  }
}

}  // namespace
}  // namespace tendon::testing
